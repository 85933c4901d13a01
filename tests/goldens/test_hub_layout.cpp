// The experiments in configs/ on models as they are published and downloaded: in a cache of the Hugging Face
// hub, with half-precision variants of most components.
#include <ATen/ATen.h>
#include <spdlog/sinks/ostream_sink.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>

#include "goldens/tiny_generators.hpp"
#include "reno/io/checkpoint.hpp"
#include "reno/io/safetensors.hpp"
#include "support/hub_cache.hpp"

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

namespace {

bool is_weights(const fs::path& file) {
  const auto name = file.filename().string();
  return name.find(".safetensors") != std::string::npos;
}

/// Copies a model without its weights, and writes those of each component anew: rounded to float16, under the
/// variant's name beside plain weights that nobody could read; those of `plain` as they are.
void publish(const fs::path& model, const fs::path& to, const std::string& plain) {
  for (const auto& entry : fs::recursive_directory_iterator(model))
    if (entry.is_regular_file() && !is_weights(entry.path())) {
      const auto copy = to / fs::relative(entry.path(), model);
      fs::create_directories(copy.parent_path());
      fs::copy_file(entry.path(), copy);
    }
  for (const auto& component : fs::directory_iterator(model)) {
    const auto name = component.path().filename().string();
    const std::string stem = name.starts_with("text_encoder") ? "model" : "diffusion_pytorch_model";
    if (!component.is_directory() || !has_checkpoint(component.path(), stem, "")) continue;
    const auto source = open_checkpoint(component.path(), stem);
    std::map<std::string, at::Tensor> tensors;
    for (const auto& key : source->names()) tensors[key] = source->read(key).to(at::kHalf);
    const bool is_plain = name == plain;
    write_safetensors(to / name / (stem + (is_plain ? ".safetensors" : ".fp16.safetensors")), tensors);
    if (!is_plain) std::ofstream(to / name / (stem + ".safetensors")) << "not weights";
  }
}

struct Downloads {
  std::string model;  ///< hub id and folder of the reference data
  std::string folder;
  std::string plain;  ///< component that has no variant
  std::string other;  ///< a second download: its id, the option that names it, and where it is here
  std::string option;
};

}  // namespace

TEST_CASE(
    "generators: from the hub's cache, the experiments in configs/ take the fp16 variant where there is one",
    "[goldens]") {
  const std::map<std::string, Downloads> published = {
      {"sd-turbo", {"stabilityai/sd-turbo", "model", "vae", "", ""}},
      {"sdxl-turbo",
       {"stabilityai/sdxl-turbo", "model", "text_encoder", "madebyollin/sdxl-vae-fp16-fix", "vae"}},
      {"hyper-sd",
       {"stabilityai/stable-diffusion-xl-base-1.0", "base", "text_encoder_2", "ByteDance/Hyper-SD", "unet"}},
  };
  for_each_generator([&](const std::string& name, const fs::path& folder) {
    if (!published.contains(name)) return;
    const auto& downloads = published.at(name);
    HubCache cache;
    publish(folder / downloads.folder, cache.workshop(), downloads.plain);
    cache.take(downloads.model, cache.workshop());
    if (!downloads.other.empty()) {
      const auto part = folder / tiny_models.at(name).at(downloads.option);
      fs::copy(part, fs::is_directory(part) ? cache.workshop() : cache.workshop() / part.filename(),
               fs::copy_options::recursive);
      cache.take(downloads.other, cache.workshop());
    }
    const auto experiment =
        read_experiment(fs::path(RENO_SOURCE_DIR) / "configs" / (name + ".toml"), plugin_registry());
    std::ostringstream said;
    Context context = quiet_context(experiment);
    context.log =
        std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(said));
    const auto generator =
        create_component(plugin_registry().generators, name, experiment.generator.options, context);
    CHECK_THAT(said.str(), Catch::Contains("/" + downloads.plain + ": there is no variant 'fp16'"));
    std::size_t fallbacks = 0;
    for (auto at = said.str().find("no variant"); at != std::string::npos;
         at = said.str().find("no variant", at + 1))
      ++fallbacks;
    CHECK(fallbacks == 1);

    const auto plain = load_tiny(name, folder, {.dtype = "float32"});
    const auto noise = noise_of(plain, 1).to(at::kFloat);
    const auto image = generator.generate(noise, generator.encode({tiny_prompts[0]}));
    const auto expected = plain.generate(noise, plain.encode({tiny_prompts[0]}));
    check_absolute(name + " image by weights in float16", image, expected, 0.02);
    CHECK_FALSE(at::equal(image, expected));
  });
}
