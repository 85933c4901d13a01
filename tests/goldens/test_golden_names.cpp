// Every tensor of the generators' reference data is compared by some test, is what such a test starts from,
// or follows from one that is compared: none is stored and forgotten.
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "support/golden.hpp"

namespace {

using namespace reno::test;

/// Names, as regular expressions.
struct Names {
  std::vector<std::string> compared;
  std::vector<std::string> given;
  std::map<std::string, std::string> implied;  ///< name -> by the value that it is an intermediate result of
};

const Names of_all = {
    {"image", "grad", "one_step\\.(model_out|final_latents|decoder_out)", "text\\.\\d+\\.prompt_embeds",
     "vae\\.out"},
    {"latents", "weights", "vae\\.in"},
    {},
};

const std::map<std::string, Names> of_generator = {
    {"sd-turbo",
     {{"one_step\\.(scaled_latents|model_in)", "text\\.0\\.prompt_embeds_fp16_variant",
       "multi\\.(turbo_4_steps|sd2_base_cfg)\\.image", "multi\\.turbo_4_steps\\.grad",
       "sched\\.(turbo|sd2_base)\\.(alphas_cumprod|\\d+\\.(sigmas|timesteps))",
       "tap\\.text_encoder\\.text_model\\.embeddings", "tap\\.unet\\..*", "tap\\.vae\\.decoder\\..*"},
      {"one_step\\.decoder_in"},
      {{"tap\\.text_encoder\\.text_model\\.(encoder\\.layers\\.0|final_layer_norm)", "text.0.prompt_embeds"},
       {"multi\\.turbo_4_steps\\.(scaled|final)_latents", "multi.turbo_4_steps.image"},
       {"multi\\.sd2_base_cfg\\.(scaled|final)_latents", "multi.sd2_base_cfg.image"}}}},
    {"sdxl-turbo",
     {{"one_step\\.(scaled_latents|model_in|decoder_in)", "text\\.\\d+\\.pooled",
       "multi\\.(turbo_4_steps|sdxl_base_cfg)\\.image", "multi\\.turbo_4_steps\\.grad",
       "sched\\.(turbo|sdxl_base)\\.(alphas_cumprod|\\d+\\.(sigmas|timesteps))",
       "tap\\.text_encoder(_2)?\\.text_model\\..*", "tap\\.unet\\..*"},
      {},
      {{"tap\\.vae\\.decoder\\..*", "one_step.decoder_out"},
       {"multi\\.turbo_4_steps\\.(scaled|final)_latents", "multi.turbo_4_steps.image"},
       {"multi\\.sdxl_base_cfg\\.(scaled|final)_latents", "multi.sdxl_base_cfg.image"}}}},
    {"hyper-sd",
     {{"one_step\\.(scaled_latents|model_in|decoder_in)", "text\\.\\d+\\.pooled",
       "multi\\.lcm_4_steps\\.image", "sched\\.lcm\\.(alphas_cumprod|\\d+\\.timesteps)",
       "tap\\.text_encoder(_2)?\\.text_model\\..*", "tap\\.unet\\..*"},
      {},
      {{"tap\\.vae\\.decoder\\..*", "one_step.decoder_out"},
       {"multi\\.lcm_4_steps\\.(scaled|final)_latents", "multi.lcm_4_steps.image"},
       {"sched\\.lcm_custom\\.(alphas_cumprod|800\\.timesteps)", "one_step.final_latents"}}}},
    {"pixart",
     {{"one_step\\.decoder_in", "text\\.\\d+\\.attention_mask", "resize\\.\\d+x\\d+",
       "sched\\.ddpm\\.alphas_cumprod", "tap\\.text_encoder\\.encoder\\..*", "tap\\.transformer\\..*",
       "wide\\.out"},
      {"one_step\\.model_in", "resize\\.in", "wide\\.in"},
      {{"one_step\\.scaled_latents", "one_step.model_out"},
       {"sched\\.ddpm_custom\\.(alphas_cumprod|400\\.timesteps)", "one_step.final_latents"},
       // golden.json has the same numbers, which are compared
       {"sched\\.ddpm\\.\\d+\\.timesteps", "sched.ddpm.alphas_cumprod"},
       {"tap\\.vae\\.decoder\\..*", "vae.out"}}}},
    {"flux-schnell",
     {{"one_step\\.decoder_in", "text\\.\\d+\\.pooled", "multi\\.schnell_4_steps\\.(image|grad)",
       "sched\\.flow\\.\\d+\\.(sigmas|timesteps)", "tap\\.text_encoder\\.text_model\\.embeddings",
       "tap\\.text_encoder_2\\.encoder\\.block\\..*", "tap\\.transformer\\..*"},
      {"one_step\\.model_in"},
      {{"one_step\\.scaled_latents", "one_step.model_out"},
       {"img_ids", "tap.transformer.pos_embed"},
       {"multi\\.schnell_4_steps\\.(scaled|final)_latents", "multi.schnell_4_steps.image"},
       {"tap\\.text_encoder\\.text_model\\.(encoder\\.layers\\.0|final_layer_norm)", "text.0.pooled"},
       {"tap\\.text_encoder_2\\.encoder\\.final_layer_norm", "text.0.prompt_embeds"},
       {"tap\\.vae\\.decoder\\..*", "one_step.decoder_out"}}}},
};

}  // namespace

TEST_CASE("every tensor of the generators' reference data is compared, or follows from one that is",
          "[goldens]") {
  for (const auto& [generator, own] : of_generator)
    for (const auto& golden : goldens("generators/" + generator)) {
      INFO(golden.name);
      std::vector<std::string> patterns = of_all.compared;
      std::vector<std::string> compared = of_all.compared;
      patterns.insert(patterns.end(), of_all.given.begin(), of_all.given.end());
      patterns.insert(patterns.end(), own.compared.begin(), own.compared.end());
      compared.insert(compared.end(), own.compared.begin(), own.compared.end());
      patterns.insert(patterns.end(), own.given.begin(), own.given.end());
      const auto matched = [](const std::string& name, const std::vector<std::string>& by) {
        return std::any_of(by.begin(), by.end(),
                           [&](const auto& one) { return std::regex_match(name, std::regex(one)); });
      };
      for (const auto& [name, by] : own.implied) {
        patterns.push_back(name);
        INFO(name << " is said to follow from " << by);
        CHECK(matched(by, compared));
      }
      const auto names = golden.tensors->names();
      for (const auto& name : names)
        if (!matched(name, patterns)) FAIL_CHECK(name << " is compared nowhere");
      if (golden.preset == "a") continue;  // cut down
      for (const auto& pattern : patterns) {
        INFO(pattern);
        CHECK(std::any_of(names.begin(), names.end(),
                          [&](const auto& name) { return matched(name, {pattern}); }));
      }
    }
}
