// A reward in one file: how colourful an image is. No weights, differentiable, compiled outside of reno's own
// tree.
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "reno/plugin.hpp"

namespace {

/// Colourfulness after Hasler and Suesstrunk (Measuring colourfulness in natural images, 2003): spread and
/// strength of the opponent colours red-green and yellow-blue. Scores are about 0 for grey images and 1 for
/// very colourful ones (their scale, divided by 255).
class Colourfulness {
 public:
  struct Options {
    double strength = 0.3;
    void describe(auto& field) {
      field("strength", strength, "how much the mean colour counts beside the spread of colours",
            reno::bounds{0.0, 10.0});
    }
  };
  struct PromptFeatures {};  // the prompt does not matter here
  static constexpr double ceiling = 1.0;

  Colourfulness(const Options& options, const reno::Context&) : strength_(options.strength) {}

  PromptFeatures encode(const reno::Prompts&) const { return {}; }

  /// The image itself: mean 0 and standard deviation 1 leave its values in [0, 1].
  reno::Preprocess preprocess() const {
    return {.size = 224, .mean = {0.0, 0.0, 0.0}, .std = {1.0, 1.0, 1.0}};
  }

  at::Tensor score(const at::Tensor& pixels, const PromptFeatures&) const {
    const auto colours = pixels.flatten(2).unbind(1);  // red, green, blue: (N, pixels)
    const at::Tensor red_green = colours[0] - colours[1];
    const at::Tensor yellow_blue = 0.5 * (colours[0] + colours[1]) - colours[2];
    const at::Tensor spread = root(red_green.var(1) + yellow_blue.var(1));
    const at::Tensor strength = root(red_green.mean(1).square() + yellow_blue.mean(1).square());
    return spread + strength_ * strength;
  }

 private:
  /// Its gradient stays finite where a grey image makes x zero.
  static at::Tensor root(const at::Tensor& x) { return at::sqrt(x + 1e-8); }

  double strength_;
};

}  // namespace

RENO_PLUGIN("colourfulness", [](reno::Registry& registry) {
  registry.add<Colourfulness>("colourfulness",
                              "How colourful an image is (Hasler and Suesstrunk 2003); no weights.");
})
