// The generator sd-turbo against diffusers, end to end.
#include <spdlog/sinks/ostream_sink.h>

#include <catch2/catch.hpp>
#include <sstream>

#include "../../plugins/generators/sd_turbo/sd_turbo.hpp"
#include "generator_checks.hpp"
#include "reno/nn/meta_kernels.hpp"

using namespace reno;
using test::check_close;
using test::image_and_gradient;
using test::Measure;
using test::prompts_of;
using test::replace_in_file;
using test::writable_copy;
namespace fs = std::filesystem;

namespace {

SdTurbo load(const fs::path& weights, const Context& context = {}, const fs::path& base = {}) {
  SdTurbo::Options options;
  options.weights = weights;
  options.base = base;
  return {options, context};
}

StableDiffusion load_pipeline(const fs::path& weights, const std::string& variant = "") {
  return {Pretrained(weights, variant, {}), {}};
}

fs::path small_model() { return fs::path(RENO_TEST_DATA) / "goldens/a/generators/sd-turbo/model"; }
fs::path shapes_model() { return fs::path(RENO_SOURCE_DIR) / "examples/shapes/generator"; }

}  // namespace

TEST_CASE("sd-turbo: token ids and text embeddings agree with transformers", "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    const auto model = load_pipeline(golden.folder / "model");
    const auto prompts = prompts_of(golden);
    const auto ids = encode_prompts(model.tokenizer, prompts, nullptr);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      INFO(prompts[i]);
      const auto& expected = golden.json["tokens"]["tokenizer"]["prompts"][i];
      CHECK(ids[i] == expected["ids"].get<std::vector<std::int64_t>>());
    }
    for (const std::size_t i : golden.json["embed_prompts"])
      check_close("sd-turbo text.prompt_embeds", model.encode({prompts[i]}),
                  golden["text." + std::to_string(i) + ".prompt_embeds"], Measure::of_largest, 1e-5);
    const auto text_tap = "tap.text_encoder.text_model.embeddings";
    const auto embedded = model.text_weights.during([&] { return model.text_encoder.embed({ids[0]}); });
    check_close(std::string("sd-turbo ") + text_tap, embedded, golden[text_tap], Measure::of_largest, 1e-5);
  }
}

TEST_CASE("sd-turbo: the fp16 variant of the text encoder agrees with transformers", "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    const Pretrained files(golden.folder / "model", "fp16", {});
    const nn::CLIPTextConfig config(files.config("text_encoder"));
    const nn::CLIPTextModel encoder(Weights(files.source("text_encoder", "model"), at::kCPU, at::kFloat),
                                    config);
    const auto tokenizer =
        ClipTokenizer::from_directory(files.component("tokenizer"), ClipTextStyle::transformers);
    const auto ids = encode_prompts(tokenizer, {prompts_of(golden)[0]}, nullptr);
    check_close("sd-turbo text.prompt_embeds_fp16_variant", encoder(ids).last_hidden_state,
                golden["text.0.prompt_embeds_fp16_variant"], Measure::of_largest, 1e-5);
  }
}

TEST_CASE("sd-turbo: image and gradient of one step agree with diffusers", "[plugins][goldens]") {
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    const auto generator = load(golden.folder / "model");
    const auto result = image_and_gradient(golden, generator, at::kFloat);
    check_close("sd-turbo image", result.image, golden["image"], Measure::absolute, 1e-5);
    check_close("sd-turbo grad", result.gradient, golden["grad"], Measure::relative_norm, 1e-4);

    Context in_double;
    in_double.dtype = at::kDouble;
    const auto precise = load(golden.folder / "model", in_double);
    const auto exact = image_and_gradient(golden, precise, at::kDouble);
    CHECK(exact.image.scalar_type() == at::kDouble);
    check_close("sd-turbo image (float64)", exact.image, golden["image"], Measure::absolute, 1e-5);
    check_close("sd-turbo grad (float64)", exact.gradient, golden["grad"], Measure::relative_norm, 1e-4);
  }
}

TEST_CASE("sd-turbo: what happens between noise and image agrees with diffusers", "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    const auto model = load_pipeline(golden.folder / "model");
    const auto sampling = model.prepare(1);
    const auto scaled = golden["latents"] * sampling.steps.init_noise_sigma;
    check_close("sd-turbo one_step.scaled_latents", scaled, golden["one_step.scaled_latents"],
                Measure::of_largest, 1e-6);
    const auto input = sampling.steps.scale_model_input(scaled, 0);
    check_close("sd-turbo one_step.model_in", input, golden["one_step.model_in"], Measure::of_largest, 1e-6);
    const auto output = model.unet(input, sampling.times[0], model.encode({prompts_of(golden)[0]}));
    check_close("sd-turbo one_step.model_out", output, golden["one_step.model_out"], Measure::of_largest,
                1e-5);
    const auto latents = sampling.steps.step(output, 0, scaled);
    check_close("sd-turbo one_step.final_latents", latents, golden["one_step.final_latents"],
                Measure::of_largest, 1e-5);
  }
}

TEST_CASE("sd-turbo: several steps agree with diffusers", "[plugins][goldens]") {
  for (const auto& golden : test::goldens("generators/sd-turbo")) {
    const auto prompt = prompts_of(golden)[0];
    auto generator = load(golden.folder / "model");
    const auto four = generator.refine(golden["latents"], generator.encode({prompt}), 4, 1.0);
    check_close("sd-turbo multi.turbo_4_steps.image", four, golden["multi.turbo_4_steps.image"],
                Measure::absolute, 1e-4);
    CHECK_FALSE(four.requires_grad());

    const auto model = load_pipeline(golden.folder / "model");
    const auto noise = golden["latents"].clone().requires_grad_(true);
    const auto image = model.sample(model.prepare(4), noise, model.encode({prompt}));
    (image * golden["weights"]).sum().backward();
    check_close("sd-turbo multi.turbo_4_steps.grad", noise.grad(), golden["multi.turbo_4_steps.grad"],
                Measure::relative_norm, 5e-4);

    // The base model here: the same networks with the schedule of Stable Diffusion 2.1.
    const test::TemporaryFolder folder;
    const auto base = writable_copy(golden.folder / "model", folder);
    fs::remove(base / "scheduler/scheduler_config.json");
    fs::copy(golden.folder / "sd2-base/scheduler/scheduler_config.json", base / "scheduler");
    auto guided = load(golden.folder / "model", {}, base);
    check_close("sd-turbo multi.sd2_base_cfg.image",
                guided.refine(golden["latents"], guided.encode({prompt}), 4, 7.5),
                golden["multi.sd2_base_cfg.image"], Measure::absolute, 1e-4);
  }
}

TEST_CASE("sd-turbo: no weight wants a gradient, and what the prompt gives has no graph", "[plugins]") {
  const auto generator = load(small_model());
  const auto conditioning = generator.encode({"a cat"});
  CHECK_FALSE(conditioning.prompt_embeds.requires_grad());
  const auto noise = at::randn({1, 4, 16, 16});
  CHECK_FALSE(generator.generate(noise, conditioning).requires_grad());
}

TEST_CASE("sd-turbo runs in half precision", "[plugins]") {
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    Context context;
    context.dtype = dtype;
    const auto generator = load(small_model(), context);
    const auto noise = at::randn({1, 4, 16, 16}).requires_grad_(true);
    const auto image = generator.generate(noise, generator.encode({"a cat"}));
    CHECK(image.scalar_type() == dtype);
    image.sum().backward();
    CHECK(noise.grad().scalar_type() == at::kFloat);
    CHECK(noise.grad().isfinite().all().item<bool>());
    const auto reference = load(small_model());
    check_close(std::string("sd-turbo image in ") + c10::toString(dtype), image.detach(),
                reference.generate(noise.detach(), reference.encode({"a cat"})), Measure::absolute,
                dtype == at::kHalf ? 0.02 : 0.15);
  }
}

TEST_CASE("sd-turbo runs on the meta device, backwards too", "[plugins]") {
  register_meta_kernels();
  Context context;
  context.device = at::kMeta;
  context.dtype = at::kHalf;
  const auto generator = load(small_model(), context, small_model());
  const auto noise = at::empty({2, 4, 16, 16}, at::TensorOptions(at::kMeta)).requires_grad_(true);
  const auto image = generator.generate(noise, generator.encode({"a cat", "a dog"}));
  CHECK(image.sizes() == at::IntArrayRef({2, 3, 64, 64}));
  image.sum().backward();
  CHECK(noise.grad().sizes() == noise.sizes());
}

TEST_CASE("sd-turbo: a preview decoder makes the images of the loop, the model's own those that are kept",
          "[plugins]") {
  SdTurbo::Options options;
  options.weights = small_model();
  auto plain = SdTurbo(options, Context{});
  options.preview = fs::path(RENO_TEST_DATA) / "nn/autoencoder_tiny";
  auto generator = SdTurbo(options, Context{});
  CHECK_FALSE(plain.previews());
  CHECK(generator.previews());

  at::manual_seed(2);
  const auto noise = at::randn({2, 4, 16, 16}).requires_grad_(true);
  const auto conditioning = generator.encode({"a cat", "a dog"});
  const auto preview = generator.generate(noise, conditioning);
  const auto image = plain.generate(noise.detach(), conditioning);
  CHECK(preview.sizes() == image.sizes());
  CHECK((preview.detach() - image).abs().max().item<double>() > 0.1);
  CHECK(at::equal(generator.finish(noise, conditioning), image));
  CHECK_FALSE(generator.finish(noise, conditioning).requires_grad());
  CHECK(at::equal(plain.finish(noise, conditioning), image));
  CHECK(at::equal(generator.refine(noise, conditioning, 2, 1.0), plain.refine(noise, conditioning, 2, 1.0)));
  preview.sum().backward();
  CHECK(noise.grad().norm().item<double>() > 0);

  Context lean;
  lean.memory = MemoryMode::lean;
  const auto visitor = SdTurbo(options, lean);
  const auto same = noise.detach().requires_grad_(true);
  const auto again = visitor.generate(same, visitor.encode({"a cat", "a dog"}));
  again.sum().backward();
  CHECK(at::equal(again, preview));
  check_close("sd-turbo preview gradient, lean", same.grad(), noise.grad(), Measure::relative_norm, 1e-5);

  SECTION("its latents and its size must be the model's") {
    const test::TemporaryFolder folder;
    options.preview = writable_copy(options.preview, folder);
    const auto config = fs::path(options.preview) / "config.json";
    SECTION("channels") {
      replace_in_file(config, "\"latent_channels\": 4", "\"latent_channels\": 16");
      CHECK_THROWS_WITH(SdTurbo(options, Context{}),
                        Catch::Contains("the preview decoder's latent_channels is 16, but the VAE's is 4"));
    }
    SECTION("enlargement") {
      replace_in_file(config, "\"upsampling_scaling_factor\": 2", "\"upsampling_scaling_factor\": 3");
      CHECK_THROWS_WITH(SdTurbo(options, Context{}),
                        Catch::Contains("the preview decoder's enlargement is 9, but the VAE's is 4"));
    }
  }
}

TEST_CASE("sd-turbo says what it cuts from a prompt that is too long", "[plugins]") {
  std::ostringstream said;
  Context context;
  context.log =
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(said));
  const auto generator = load(small_model(), context);
  generator.encode({"a cat"});
  CHECK(said.str().empty());
  std::string prompt;
  for (int i = 0; i < 40; ++i) prompt += "a cat, ";
  generator.encode({prompt + "and the very end"});
  CHECK_THAT(said.str(), Catch::Contains("truncated") && Catch::Contains("and the very end\""));
  CHECK(said.str().find(
            "a cat, a cat, a cat, a cat, a cat, a cat, a cat, a cat, a cat, a cat, a cat, a cat, a cat, a "
            "cat, a cat, a cat, a cat, a cat, a cat, a cat") == std::string::npos);
}

TEST_CASE("sd-turbo runs the shapes world: v-prediction at 64x64", "[plugins]") {
  const auto generator = load(shapes_model());
  CHECK(generator.noise_shape() == std::vector<std::int64_t>{4, 8, 8});
  const auto conditioning = generator.encode({"a photo of a red circle left of a blue square"});
  const auto noise = at::randn({1, 4, 8, 8}).requires_grad_(true);
  const auto image = generator.generate(noise, conditioning);
  CHECK(image.sizes() == at::IntArrayRef({1, 3, 64, 64}));
  image.sum().backward();
  CHECK(noise.grad().isfinite().all().item<bool>());
}

TEST_CASE("sd-turbo: what is wrong with a model directory is said in one sentence", "[plugins]") {
  using Catch::Contains;
  const test::TemporaryFolder folder;
  const auto model = writable_copy(small_model(), folder);
  SECTION("no such directory") { CHECK_THROWS_WITH(load(folder.path() / "nowhere"), Contains("nowhere")); }
  SECTION("a file") { CHECK_THROWS_WITH(load(model / "model_index.json"), Contains("is not a directory")); }
  SECTION("a component is missing") {
    fs::remove_all(model / "vae");
    CHECK_THROWS_WITH(load(model),
                      Contains("has no folder 'vae/'") && Contains("it has scheduler/, text_encoder/"));
  }
  SECTION("a configuration is missing") {
    fs::remove(model / "unet/config.json");
    CHECK_THROWS_WITH(load(model), Contains("unet/config.json"));
  }
  SECTION("a configuration is not JSON") {
    replace_in_file(model / "unet/config.json", "\"act_fn\": \"silu\",", "\"act_fn\": silu,");
    CHECK_THROWS_WITH(load(model), Contains("unet/config.json:4:"));
  }
  SECTION("a configuration is of another architecture") {
    replace_in_file(model / "unet/config.json", "\"addition_embed_type\": null",
                    "\"addition_embed_type\": \"image\"");
    CHECK_THROWS_WITH(load(model), Contains("addition_embed_type"));
  }
  SECTION("a tensor has another shape") {
    replace_in_file(model / "vae/config.json", "\"block_out_channels\": [\n    8,\n    8,",
                    "\"block_out_channels\": [\n    8,\n    16,");
    CHECK_THROWS_WITH(load(model), Contains("has shape [") && Contains("expected ["));
  }
  SECTION("a tensor is missing") {
    replace_in_file(model / "vae/config.json", "\"layers_per_block\": 1", "\"layers_per_block\": 2");
    CHECK_THROWS_WITH(load(model), Contains("has no tensor") && Contains("resnets"));
  }
  SECTION("components of different models") {
    replace_in_file(model / "unet/config.json", "\"cross_attention_dim\": 32", "\"cross_attention_dim\": 40");
    CHECK_THROWS_WITH(load(model), Contains("do not fit: the UNet's cross_attention_dim is 40, but the text "
                                            "encoder's hidden_size is 32"));
  }
  SECTION("a base model that is damaged is noticed at once") {
    fs::remove(model / "unet/config.json");
    CHECK_THROWS_WITH(load(small_model(), {}, model), Contains("unet/config.json"));
  }
}
