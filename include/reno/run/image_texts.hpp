// What a PNG of a run says about itself: `parameters` as stable-diffusion webui writes it, which galleries
// and catalogues read, and `reno`, a JSON object with all that is needed to make the image again.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "reno/experiment/write_toml.hpp"
#include "reno/image/png.hpp"
#include "reno/run/results.hpp"
#include "reno/version.hpp"

namespace reno {

/// Describes the images of one experiment. The texts depend on nothing but experiment, sample and iteration:
/// a repeated run writes the same bytes.
class ImageTexts {
 public:
  explicit ImageTexts(const Experiment& experiment)
      : experiment_(write_toml(experiment)),
        model_(experiment.generator.plugin),
        sampler_(sampler(experiment)),
        refine_(experiment.refine) {
    for (const auto& term : experiment.rewards) rewards_.push_back(term.name);
  }

  /// image: (3,H,W), as measured at `iteration`.
  std::vector<PngText> operator()(const Sample& sample, std::int64_t iteration, const ImageMetrics& metrics,
                                  const at::Tensor& image) const {
    auto object = json(sample, iteration);
    object.update(detail::measured(rewards_, metrics));
    object["experiment"] = experiment_;
    return {{"parameters", parameters(sample, iteration, image, 1, "")},
            {"reno", object.dump(-1, ' ', /*ensure_ascii=*/true, replace)}};
  }

  /// image: (3,H,W), made in several steps from the noise of `iteration`.
  std::vector<PngText> refined(const Sample& sample, std::int64_t iteration, const ImageMetrics& metrics,
                               const at::Tensor& image) const {
    auto object = json(sample, iteration);
    object.update(detail::judged_json(rewards_, metrics));
    object["refined"] = {{"steps", refine_.steps}, {"guidance", refine_.guidance}};
    object["experiment"] = experiment_;
    return {{"parameters", parameters(sample, iteration, image, refine_.steps,
                                      fmt::format(", CFG scale: {}", refine_.guidance))},
            {"reno", object.dump(-1, ' ', /*ensure_ascii=*/true, replace)}};
  }

 private:
  static constexpr auto replace = nlohmann::ordered_json::error_handler_t::replace;

  static std::string sampler(const Experiment& experiment) {
    switch (experiment.run.mode) {
      case Mode::optimize:
        return "ReNO " + experiment.optimizer.plugin;
      case Mode::best_of_n:
        return "ReNO best-of-n";
      case Mode::no_optim:
        break;
    }
    return "one step";
  }

  /// A value that holds the format's own separators stands in quotes, as JSON.
  static std::string quoted(const std::string& value) {
    return value.find_first_of(",:\n\"") == std::string::npos
               ? value
               : nlohmann::json(value).dump(-1, ' ', false, replace);
  }

  std::string parameters(const Sample& sample, std::int64_t iteration, const at::Tensor& image,
                         std::int64_t steps, const std::string& guidance) const {
    return fmt::format(
        "{}{}Steps: {}, Sampler: {}{}, Seed: {}, Size: {}x{}, Model: {}, ReNO iteration: {}, "
        "Prompt index: {}, Version: reno {}",
        sample.prompt.text, sample.prompt.text.empty() ? "" : "\n", steps, quoted(sampler_), guidance,
        sample.seed, image.size(2), image.size(1), quoted(model_), iteration, sample.prompt.index, version);
  }

  static nlohmann::ordered_json json(const Sample& sample, std::int64_t iteration) {
    nlohmann::ordered_json object;
    object["version"] = version;
    object["text"] = sample.prompt.text;
    object["prompt"] = sample.prompt.index;
    object["seed"] = sample.seed;
    object["iteration"] = iteration;
    return object;
  }

  std::string experiment_;  ///< resolved, as TOML
  std::string model_;
  std::string sampler_;
  RefineOptions refine_;
  std::vector<std::string> rewards_;
};

}  // namespace reno
