// The generator flux-schnell against diffusers, end to end.
#include <catch2/catch.hpp>
#include <filesystem>

#include "../../plugins/generators/flux_schnell/flux_schnell.hpp"
#include "generator_checks.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reward_checks.hpp"

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

namespace {

std::vector<Golden> flux_goldens() { return goldens("generators/flux-schnell"); }

FluxSchnell::Options options_of(const Golden& golden) {
  FluxSchnell::Options options;
  options.weights = golden.folder / "model";
  options.height = golden.json["size"]["height"];
  options.width = golden.json["size"]["width"];
  return options;
}

FluxSchnell load(const Golden& golden, const Context& context = {}) { return {options_of(golden), context}; }

/// The pipeline behind the plugin.
Flux load_pipeline(const Golden& golden) {
  const c10::NoGradGuard no_grad;
  const Pretrained files(golden.folder / "model", "", {});
  return {files, FluxConfig(files), {golden.json["size"]["rows"], golden.json["size"]["cols"]}, {}};
}

}  // namespace

TEST_CASE("flux-schnell: token ids and text embeddings agree with transformers", "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : flux_goldens()) {
    const auto model = load_pipeline(golden);
    const auto prompts = prompts_of(golden);
    const auto ids = encode_prompts(model.tokenizer, prompts, nullptr);
    const auto ids_2 = encode_prompts(model.tokenizer_2, prompts, nullptr);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      INFO(prompts[i]);
      CHECK(ids[i] == ids_of(golden, "tokenizer")[i]);
      CHECK(ids_2[i] == ids_of(golden, "tokenizer_2")[i]);
    }
    for (const std::size_t i : golden.json["embed_prompts"]) {
      const auto text = "text." + std::to_string(i);
      check_to_largest("flux-schnell text.pooled", model.encode({prompts[i]}).pooled,
                       golden[text + ".pooled"], 1e-5);
      const auto states = model.text_weights_2.during([&] { return model.text_encoder_2({ids_2[i]}); });
      check_to_largest("flux-schnell text.prompt_embeds", states, golden[text + ".prompt_embeds"], 1e-5);
    }
    const std::string tap = "tap.text_encoder.text_model.embeddings";
    const auto embedded = model.text_weights.during([&] { return model.text_encoder.embed({ids[0]}); });
    check_to_largest("flux-schnell " + tap, embedded, golden[tap], 1e-5);
  }
}

TEST_CASE("flux-schnell: what happens between noise and image agrees with diffusers", "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : flux_goldens()) {
    const auto model = load_pipeline(golden);
    const auto check = [&](const std::string& name, const at::Tensor& got, double tolerance = 1e-5) {
      check_to_largest("flux-schnell " + name, got, golden[name], tolerance);
    };
    const auto embeds = model.encode({prompts_of(golden)[0]});
    const auto steps = model.scheduler.set_timesteps(1);
    const auto noise = golden["latents"];
    const auto velocity =
        model.transformer(noise, embeds.text, model.modulate(steps, embeds)[0], model.positions);
    check("one_step.model_out", velocity);
    const auto latents = steps.step(velocity, 0, noise);
    check("one_step.final_latents", latents);
    check("one_step.decoder_in", model.decoder_input(latents));
    check("one_step.decoder_out", model.vae(model.decoder_input(latents)));
    check("vae.out", model.vae(golden["vae.in"]));
  }
}

TEST_CASE("flux-schnell: image and gradient of one step agree with diffusers in all memory modes",
          "[plugins][goldens]") {
  for (const auto& golden : flux_goldens()) {
    auto shape = load(golden).noise_shape();
    shape.insert(shape.begin(), 1);
    CHECK(golden["latents"].sizes() == at::IntArrayRef(shape));
    for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean}) {
      Context context;
      context.memory = memory;
      auto generator = load(golden, context);
      const auto result = image_and_gradient(golden, generator);
      check_absolute("flux-schnell image", result.image, golden["image"], 1e-5);
      check_relative_norm("flux-schnell grad", result.gradient, golden["grad"], 1e-4);
    }

    Context in_double;
    in_double.dtype = at::kDouble;
    auto exact = load(golden, in_double);
    const auto wide = image_and_gradient(golden, exact, at::kDouble);
    CHECK(wide.image.scalar_type() == at::kDouble);
    check_absolute("flux-schnell image (float64)", wide.image, golden["image"], 1e-5);
    check_relative_norm("flux-schnell grad (float64)", wide.gradient, golden["grad"], 1e-4);
  }
}

TEST_CASE("flux-schnell: several steps agree with diffusers", "[plugins][goldens]") {
  for (const auto& golden : flux_goldens()) {
    const Prompts prompt{prompts_of(golden)[0]};
    const auto generator = load(golden);
    const auto four = generator.refine(golden["latents"], generator.encode(prompt), 4, 0);
    check_absolute("flux-schnell multi.schnell_4_steps.image", four, golden["multi.schnell_4_steps.image"],
                   1e-4);
    CHECK_FALSE(four.requires_grad());
    const LoggedContext context;
    const auto warning = load(golden, context);
    CHECK(at::equal(warning.refine(golden["latents"], warning.encode(prompt), 4, 3.5), four));
    CHECK_THAT(context.logged(), Catch::Contains("has no guidance: the scale 3.5 is ignored"));

    const auto model = load_pipeline(golden);
    const auto steps = model.scheduler.set_timesteps(4);
    const auto embeds = model.encode(prompt);
    const auto noise = golden["latents"].clone().requires_grad_(true);
    const auto image = model.sample(steps, model.modulate(steps, embeds), embeds.text, noise);
    (image * golden["weights"]).sum().backward();
    check_relative_norm("flux-schnell multi.schnell_4_steps.grad", noise.grad(),
                        golden["multi.schnell_4_steps.grad"], 5e-4);
  }
}

TEST_CASE("flux-schnell runs in half precision", "[plugins]") {
  for (const auto& golden : flux_goldens()) {
    const auto reference = load(golden);
    for (const auto dtype : {at::kBFloat16, at::kHalf}) {
      Context context;
      context.dtype = dtype;
      const auto generator = load(golden, context);
      const auto conditioning = generator.encode({"a cat"});
      CHECK_FALSE(conditioning.embeds.text.requires_grad());
      const auto noise = golden["latents"].clone().requires_grad_(true);
      const auto image = generator.generate(noise, conditioning);
      CHECK(image.scalar_type() == dtype);
      image.sum().backward();
      CHECK(noise.grad().scalar_type() == at::kFloat);
      CHECK(noise.grad().isfinite().all().item<bool>());
      check_absolute(std::string("flux-schnell image in ") + c10::toString(dtype), image.detach(),
                     reference.generate(noise.detach(), reference.encode({"a cat"})),
                     dtype == at::kHalf ? 0.02 : 0.15);
    }
  }
}

TEST_CASE("flux-schnell runs on the meta device, backwards too", "[plugins]") {
  register_meta_kernels();
  for (const auto& golden : flux_goldens()) {
    Context context;
    context.device = at::kMeta;
    context.dtype = at::kBFloat16;
    const auto generator = load(golden, context);
    auto shape = generator.noise_shape();
    shape.insert(shape.begin(), 2);
    const auto noise = at::empty(shape, at::TensorOptions(at::kMeta)).requires_grad_(true);
    const auto image = generator.generate(noise, generator.encode({"a cat", "a dog"}));
    CHECK(image.sizes().slice(1) == golden["image"].sizes().slice(1));
    image.sum().backward();
    CHECK(noise.grad().sizes() == noise.sizes());
  }
}

TEST_CASE("flux-schnell says what T5 does not see of a prompt", "[plugins]") {
  for (const auto& golden : flux_goldens()) {
    const LoggedContext context;
    const auto generator = load(golden, context);
    std::string prompt = "a cat";
    for (int i = 0; i < 20; ++i) prompt += ", a cat";
    generator.encode({prompt});  // too long for CLIP
    CHECK(context.logged() == "");
    for (int i = 0; i < 80; ++i) prompt += ", a cat";
    generator.encode({prompt + " and the very end"});
    CHECK_THAT(context.logged(), Catch::Contains("takes 255 tokens") && Catch::Contains("the very end\""));
  }
}

TEST_CASE("flux-schnell: what is wrong with its directory or size is said in one sentence", "[plugins]") {
  using Catch::Contains;
  for (const auto& golden : flux_goldens()) {
    auto options = options_of(golden);
    options.height += 2;
    CHECK_THROWS_WITH((FluxSchnell{options, {}}),
                      Contains(fmt::format("height = {} is not a multiple of", options.height)));
    const TemporaryFolder folder;
    options = options_of(golden);
    options.weights = writable_copy(golden.folder / "model", folder);
    replace_in_file(options.weights / "transformer/config.json", "\"joint_attention_dim\"", "\"renamed\"");
    CHECK_THROWS_WITH((FluxSchnell{options, {}}),
                      Contains("do not fit: the transformer's joint_attention_dim is 4096"));
  }
}
