// The generators of SDXL's architecture, sdxl-turbo and hyper-sd, against diffusers, end to end.
#include <catch2/catch.hpp>

#include "../../plugins/generators/hyper_sd/hyper_sd.hpp"
#include "../../plugins/generators/sdxl_turbo/sdxl_turbo.hpp"
#include "generator_checks.hpp"
#include "reno/nn/meta_kernels.hpp"
#include "reno/run/memory.hpp"

using namespace reno;
using test::check_close;
using test::Golden;
using test::Measure;
using test::prompts_of;
namespace fs = std::filesystem;

namespace {

Context with_dtype(at::ScalarType dtype) {
  Context context;
  context.dtype = dtype;
  return context;
}

SdxlTurbo::Options sdxl_turbo(const Golden& golden) {
  SdxlTurbo::Options options;
  options.weights = golden.folder / "model";
  options.vae = golden.folder / "vae-fp16-fix";
  options.base_vae = golden.folder / "vae-fp16-fix";
  return options;
}

HyperSd::Options hyper_sd(const Golden& golden) {
  HyperSd::Options options;
  options.weights = golden.folder / "base";
  options.unet = golden.folder / "Hyper-SDXL-1step-Unet.safetensors";
  options.base_vae.clear();
  return options;
}

/// The composition below each of the two generators, with the name of its reference data and its one step.
struct Pipeline {
  std::string name;
  Golden golden;
  StableDiffusionXL model;
  std::function<at::Tensor(const at::Tensor& output, const at::Tensor& sample)> step;
  std::function<at::Tensor(const at::Tensor& sample)> scale_model_input;
  float init_noise_sigma;
  float timestep;
};

template <class Steps>
Pipeline pipeline(const std::string& name, const Golden& golden, const StableDiffusionXLFiles& files,
                  const Steps& steps) {
  REQUIRE(steps.size() == 1);
  return {name,
          golden,
          {files, Context{}},
          [=](const at::Tensor& output, const at::Tensor& sample) {
            return steps.step(output, 0, sample, at::Tensor{});
          },
          [=](const at::Tensor& sample) { return steps.scale_model_input(sample, 0); },
          steps.init_noise_sigma,
          steps.timesteps.front()};
}

std::vector<Pipeline> pipelines() {
  std::vector<Pipeline> all;
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    StableDiffusionXLFiles files(Pretrained(golden.folder / "model", "", {}));
    files.vae = golden.folder / "vae-fp16-fix";
    const schedulers::EulerAncestralDiscreteScheduler scheduler(
        files.model.config("scheduler", "scheduler_config.json"));
    all.push_back(pipeline("sdxl-turbo", golden, files, scheduler.set_timesteps(1)));
  }
  for (const auto& golden : test::goldens("generators/hyper-sd")) {
    StableDiffusionXLFiles files(Pretrained(golden.folder / "base", "", {}));
    files.unet = golden.folder / "Hyper-SDXL-1step-Unet.safetensors";
    const schedulers::LCMScheduler scheduler(files.model.config("scheduler", "scheduler_config.json"));
    all.push_back(pipeline("hyper-sd", golden, files, scheduler.at_timesteps({HyperSd::timestep})));
  }
  return all;
}

}  // namespace

TEST_CASE("SDXL: token ids of both tokenizers and text embeddings agree with transformers",
          "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& [name, golden, model, step, scale, sigma, timestep] : pipelines()) {
    const auto prompts = prompts_of(golden);
    const auto ids = encode_prompts(model.tokenizer, prompts, nullptr);
    const auto ids_2 = encode_prompts(model.tokenizer_2, prompts, nullptr);
    const auto expected = test::ids_of(golden, "tokenizer"), expected_2 = test::ids_of(golden, "tokenizer_2");
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      INFO(golden.name << ": " << prompts[i]);
      CHECK(ids[i] == expected[i]);
      CHECK(ids_2[i] == expected_2[i]);
    }
    for (const std::size_t i : golden.json["embed_prompts"]) {
      const auto embeds = model.encode({prompts[i]});
      const auto key = "text." + std::to_string(i);
      check_close(name + " text.prompt_embeds", embeds.states, golden[key + ".prompt_embeds"],
                  Measure::of_largest, 1e-5);
      check_close(name + " text.pooled", embeds.pooled, golden[key + ".pooled"], Measure::of_largest, 1e-5);
    }
    const auto check_encoder = [&](const std::string& encoder, const nn::Offload& weights,
                                   const nn::CLIPTextModel& text, const nn::TokenIds& tokens) {
      const auto tap = [&](const std::string& module, const at::Tensor& got) {
        const auto key = "tap." + encoder + ".text_model." + module;
        check_close(name + " " + key, got, golden[key], Measure::of_largest, 1e-5);
      };
      weights.during([&] {
        tap("embeddings", text.embed(tokens));
        tap("encoder.layers.0", text.layers[0](text.embed(tokens), /*causal=*/true));
        tap("final_layer_norm", text(tokens).last_hidden_state);
      });
    };
    check_encoder("text_encoder", model.text_weights, model.text_encoder, {ids[0]});
    check_encoder("text_encoder_2", model.text_weights_2, model.text_encoder_2.text_model, {ids_2[0]});
  }
}

TEST_CASE("SDXL: what happens between noise and image agrees with diffusers", "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& [name, golden, model, step, scale, sigma, timestep] : pipelines()) {
    const auto check = [&](const std::string& key, const at::Tensor& got, double tolerance = 1e-5) {
      check_close(name + " " + key, got, golden[key], Measure::of_largest, tolerance);
    };
    const auto embeds = model.encode({prompts_of(golden)[0]});
    const auto conditions = model.condition({timestep}, embeds);
    const auto scaled = golden["latents"] * sigma;
    check("one_step.scaled_latents", scaled, 1e-6);
    const auto input = scale(scaled);
    check("one_step.model_in", input, 1e-6);
    const auto output = model.unet(input, conditions.times[0], conditions.states);
    check("one_step.model_out", output);
    const auto latents = step(output, scaled);
    check("one_step.final_latents", latents);
    check("one_step.decoder_in", latents / model.config.vae.scaling_factor);
    check("one_step.decoder_out", model.vae(golden["one_step.decoder_in"]));
    check("vae.out", model.vae(golden["vae.in"]));

    const auto& unet = model.unet;
    nn::UNetConditions block{at::silu(conditions.times[0]), conditions.states};
    auto x = unet.conv_in(input);
    check("tap.unet.conv_in", x);
    std::vector<at::Tensor> skips{x};
    for (std::size_t i = 0; i < unet.down_blocks.size(); ++i) {
      x = unet.down_blocks[i](x, block, skips);
      if (i < 2) check("tap.unet.down_blocks." + std::to_string(i), x);
    }
    x = unet.mid_block(x, block);
    check("tap.unet.mid_block", x);
    for (std::size_t i = 0; i < unet.up_blocks.size(); ++i) {
      x = unet.up_blocks[i](x, block, skips);
      if (i == 0) check("tap.unet.up_blocks.0", x);
    }
    check("tap.unet.up_blocks.-1", x);
    const auto time = golden["tap.unet.time_embedding"] + golden["tap.unet.add_embedding"];
    check_close(name + " time_embedding + add_embedding", conditions.times[0], time, Measure::of_largest,
                1e-5);
  }
}

TEST_CASE("sdxl-turbo: image and gradient of one step agree with diffusers", "[plugins][goldens]") {
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    const SdxlTurbo generator(sdxl_turbo(golden), {});
    const auto result = test::image_and_gradient(golden, generator);
    check_close("sdxl-turbo image", result.image, golden["image"], Measure::absolute, 1e-5);
    check_close("sdxl-turbo grad", result.gradient, golden["grad"], Measure::relative_norm, 1e-4);

    const SdxlTurbo exact(sdxl_turbo(golden), with_dtype(at::kDouble));
    const auto in_double = test::image_and_gradient(golden, exact, at::kDouble);
    CHECK(in_double.image.scalar_type() == at::kDouble);
    check_close("sdxl-turbo image (float64)", in_double.image, golden["image"], Measure::absolute, 1e-5);
    check_close("sdxl-turbo grad (float64)", in_double.gradient, golden["grad"], Measure::relative_norm,
                1e-4);
  }
}

TEST_CASE("sdxl-turbo: several steps agree with diffusers", "[plugins][goldens]") {
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    const auto prompt = prompts_of(golden)[0];
    Context context;
    context.seed = golden.json["multi"]["turbo_4_steps"]["generator_seed"];
    SdxlTurbo generator(sdxl_turbo(golden), context);
    const auto four = generator.refine(golden["latents"], generator.encode({prompt}), 4, 0.0);
    check_close("sdxl-turbo multi.turbo_4_steps.image", four, golden["multi.turbo_4_steps.image"],
                Measure::absolute, 1e-4);
    CHECK_FALSE(four.requires_grad());

    StableDiffusionXLFiles files(Pretrained(golden.folder / "model", "", {}));
    files.vae = golden.folder / "vae-fp16-fix";
    const StableDiffusionXL model(files, {});
    const auto steps =
        schedulers::EulerAncestralDiscreteScheduler(files.model.config("scheduler", "scheduler_config.json"))
            .set_timesteps(4);
    const auto noise = golden["latents"].clone().requires_grad_(true);
    const auto image = model.generate(steps, model.condition(steps.timesteps, model.encode({prompt})), noise,
                                      schedulers::SamplerNoise(context.seed));
    (image * golden["weights"]).sum().backward();
    check_close("sdxl-turbo multi.turbo_4_steps.grad", noise.grad(), golden["multi.turbo_4_steps.grad"],
                Measure::relative_norm, 5e-4);

    // The base model here: the same networks, with the schedule of SDXL's base; its autoencoder lies
    // elsewhere.
    const test::TemporaryFolder folder;
    const auto base = test::writable_copy(golden.folder / "model", folder);
    fs::remove(base / "scheduler/scheduler_config.json");
    fs::copy(golden.folder / "sdxl-base/scheduler/scheduler_config.json", base / "scheduler");
    auto options = sdxl_turbo(golden);
    options.base = base;
    SdxlTurbo guided(options, {});
    check_close("sdxl-turbo multi.sdxl_base_cfg.image",
                guided.refine(golden["latents"], guided.encode({prompt}), 4, 5.0),
                golden["multi.sdxl_base_cfg.image"], Measure::absolute, 1e-4);
  }
}

TEST_CASE("hyper-sd: image and gradient of one step agree with diffusers", "[plugins][goldens]") {
  for (const auto& golden : test::goldens("generators/hyper-sd")) {
    const HyperSd generator(hyper_sd(golden), {});
    const auto result = test::image_and_gradient(golden, generator);
    CHECK(result.image.scalar_type() == at::kHalf);
    check_close("hyper-sd image", result.image, golden["image"], Measure::absolute, 5e-4);
    check_close("hyper-sd grad", result.gradient, golden["grad"], Measure::relative_norm, 1e-4);

    const HyperSd exact(hyper_sd(golden), with_dtype(at::kDouble));
    CHECK(exact.generate(golden["latents"].to(at::kDouble), exact.encode({"a cat"})).scalar_type() ==
          at::kDouble);
    auto unrounded = hyper_sd(golden);
    unrounded.float16_images = false;
    const HyperSd precise(unrounded, {});
    const auto image = test::image_and_gradient(golden, precise).image;
    check_close("hyper-sd one_step.decoder_out", image, nn::to_image(golden["one_step.decoder_out"]),
                Measure::absolute, 1e-5);
    CHECK(at::equal(image.to(at::kHalf), result.image));
  }
}

TEST_CASE("hyper-sd: several steps are those of its own schedule", "[plugins][goldens]") {
  for (const auto& golden : test::goldens("generators/hyper-sd")) {
    Context context;
    context.seed = golden.json["multi"]["lcm_4_steps"]["generator_seed"];
    HyperSd generator(hyper_sd(golden), context);
    const auto image = generator.refine(golden["latents"], generator.encode({prompts_of(golden)[0]}), 4, 0.0);
    check_close("hyper-sd multi.lcm_4_steps.image", image, golden["multi.lcm_4_steps.image"],
                Measure::absolute, 1e-4);
  }
}

TEST_CASE("hyper-sd decodes in float32, or in the run's dtype with an autoencoder that allows it",
          "[plugins]") {
  for (const auto& golden : test::goldens("generators/hyper-sd")) {
    auto options = hyper_sd(golden);
    options.float16_images = false;
    const auto image = [&] {
      const HyperSd generator(options, with_dtype(at::kBFloat16));
      return generator.generate(golden["latents"], generator.encode({"a cat"}));
    };
    CHECK(image().scalar_type() == at::kFloat);
    const test::TemporaryFolder folder;
    options.vae = test::writable_copy(golden.folder / "base/vae", folder);
    test::replace_in_file(options.vae / "config.json", "\"force_upcast\": true", "\"force_upcast\": false");
    CHECK(image().scalar_type() == at::kBFloat16);
  }
}

TEST_CASE("SDXL's base decodes by its own autoencoder in float32, where half precision overflows",
          "[plugins]") {
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    const test::TemporaryFolder folder;
    const auto base = test::writable_copy(golden.folder / "model", folder);
    fs::copy(golden.folder / "vae-fp16-fix", base / "vae", fs::copy_options::recursive);
    // One that overflows, as SDXL's: what the first norm makes good is beyond float16 before it.
    const auto file = base / "vae/diffusion_pytorch_model.safetensors";
    std::map<std::string, at::Tensor> tensors;
    const auto stored = open_safetensors(golden.folder / "vae-fp16-fix/diffusion_pytorch_model.safetensors");
    for (const auto& name : stored->names()) tensors[name] = stored->read(name).clone();
    for (const char* part : {"weight", "bias"}) tensors[std::string("decoder.conv_in.") + part] *= 1e7;
    fs::remove(file);
    write_safetensors(file, tensors);
    auto options = sdxl_turbo(golden);
    options.base = base;
    options.base_vae.clear();
    const auto refined = [&](at::ScalarType dtype) {
      SdxlTurbo generator(options, with_dtype(dtype));
      return generator.refine(golden["latents"], generator.encode({"a cat"}), 2, 5.0);
    };
    const auto says = [&](const char* before, const char* after) {
      fs::permissions(base / "vae/config.json", fs::perms::owner_write, fs::perm_options::add);
      test::replace_in_file(base / "vae/config.json", std::string("\"force_upcast\": ") + before,
                            std::string("\"force_upcast\": ") + after);
    };
    CHECK(refined(at::kHalf).isnan().any().item<bool>());
    says("false", "true");
    const auto expected = refined(at::kFloat);
    const auto image = refined(at::kHalf);
    CHECK(image.scalar_type() == at::kFloat);
    check_close("sdxl-turbo refined in float16, decoded in float32", image, expected, Measure::absolute,
                0.02);
  }
}

TEST_CASE("sdxl-turbo: the model's own autoencoder decodes in float32, where its configuration asks for that",
          "[plugins]") {
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    const test::TemporaryFolder folder;
    auto options = sdxl_turbo(golden);
    options.vae = test::writable_copy(options.vae, folder);
    const auto dtype_of_image = [&] {
      const SdxlTurbo generator(options, with_dtype(at::kHalf));
      return generator.generate(golden["latents"], generator.encode({"a cat"})).scalar_type();
    };
    CHECK(dtype_of_image() == at::kHalf);
    test::replace_in_file(options.vae / "config.json", "\"force_upcast\": false", "\"force_upcast\": true");
    CHECK(dtype_of_image() == at::kFloat);
  }
}

TEST_CASE("SDXL generators: noise follows the size that is asked for", "[plugins]") {
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    auto options = sdxl_turbo(golden);
    const auto native = SdxlTurbo(options, {}).noise_shape();
    const auto factor = 64 / native[1];
    options.size.width = 96;
    const SdxlTurbo wide(options, {});
    CHECK(wide.noise_shape() == std::vector<std::int64_t>{4, native[1], 96 / factor});
    const auto image = wide.generate(at::randn({1, 4, native[1], 96 / factor}), wide.encode({"a cat"}));
    CHECK(image.sizes() == at::IntArrayRef({1, 3, 64, 96}));
    options.size.height = 101;
    CHECK_THROWS_WITH(
        SdxlTurbo(options, {}),
        Catch::Equals(fmt::format("height = 101 is not a multiple of {}; the next ones are {} and {}", factor,
                                  101 / factor * factor, (101 / factor + 1) * factor)));
  }
}

TEST_CASE("SDXL generators run on the meta device, backwards and refining too", "[plugins]") {
  register_meta_kernels();
  for (const auto& golden : test::goldens("generators/hyper-sd")) {
    auto context = with_dtype(at::kHalf);
    context.device = at::kMeta;
    HyperSd generator(hyper_sd(golden), context);
    auto shape = generator.noise_shape();
    shape.insert(shape.begin(), 2);
    const auto noise = at::empty(shape, at::TensorOptions(at::kMeta)).requires_grad_(true);
    const auto conditioning = generator.encode({"a cat", "a dog"});
    const auto image = generator.generate(noise, conditioning);
    CHECK(image.sizes() == at::IntArrayRef({2, 3, 64, 64}));
    image.sum().backward();
    CHECK(noise.grad().sizes() == noise.sizes());
    CHECK(generator.refine(noise, conditioning, 2, 5.0).sizes() == image.sizes());
  }
}

TEST_CASE("SDXL generators: the three memory modes give the same numbers", "[plugins]") {
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    std::vector<test::ImageAndGradient> results;
    for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean}) {
      Context context;
      context.memory = memory;
      const SdxlTurbo generator(sdxl_turbo(golden), context);
      results.push_back(test::image_and_gradient(golden, generator));
    }
    for (std::size_t i = 1; i < results.size(); ++i) {
      CHECK(at::equal(results[i].image, results[0].image));
      // Skips' gradients are added up in another order.
      check_close("sdxl-turbo grad, recomputed", results[i].gradient, results[0].gradient,
                  Measure::relative_norm, 1e-5);
    }
  }
}

TEST_CASE("SDXL generators: recomputing takes less memory", "[plugins]") {
  register_meta_kernels();
  auto& meter = MetaMemory::install();
  for (const auto& golden : test::goldens("generators/sdxl-turbo")) {
    const auto kept = [&](MemoryMode memory) {
      Context context;
      context.device = at::kMeta;
      context.memory = memory;
      auto options = sdxl_turbo(golden);
      options.size = {512, 512};
      const auto before = meter.live();
      const SdxlTurbo generator(options, context);
      auto shape = generator.noise_shape();
      shape.insert(shape.begin(), 1);
      const auto noise = at::empty(shape, at::TensorOptions(at::kMeta)).requires_grad_(true);
      const auto image = generator.generate(noise, generator.encode({"a cat"}));
      const auto live = meter.live() - before;  // when rewards are computed
      image.sum().backward();
      return live;
    };
    // `balanced` keeps the decoder's activations, which are more in so small a model than the denoiser's.
    const auto fast = kept(MemoryMode::fast), balanced = kept(MemoryMode::balanced),
               lean = kept(MemoryMode::lean);
    INFO("fast " << fast << ", balanced " << balanced << ", lean " << lean << " bytes");
    CHECK(balanced < fast * 3 / 4);
    CHECK(lean < balanced / 4);
  }
}

TEST_CASE("SDXL generators: what is wrong with the files is said in one sentence", "[plugins]") {
  using Catch::Contains;
  const auto golden = test::goldens("generators/sdxl-turbo").front();
  const test::TemporaryFolder folder;
  auto options = sdxl_turbo(golden);
  options.weights = test::writable_copy(golden.folder / "model", folder);
  const auto load = [&] { SdxlTurbo(options, {}); };
  const auto unet = options.weights / "unet/config.json";
  SECTION("no autoencoder anywhere") {
    options.vae.clear();
    CHECK_THROWS_WITH(load(), Contains("has no folder 'vae/'"));
  }
  SECTION("a file where the autoencoder's directory should be") {
    options.vae = unet;
    CHECK_THROWS_WITH(load(), Contains("unet/config.json/config.json"));
  }
  SECTION("Stable Diffusion's UNet") {
    test::replace_in_file(unet, "\"text_time\"", "null");
    CHECK_THROWS_WITH(load(), Contains("addition_embed_type is null, which is Stable Diffusion's"));
  }
  SECTION("text encoders of another model") {
    test::replace_in_file(unet, "\"cross_attention_dim\": 56", "\"cross_attention_dim\": 64");
    CHECK_THROWS_WITH(load(), Contains("the UNet's cross_attention_dim is 64, but the sum of the text "
                                       "encoders' hidden_size is 56"));
  }
  SECTION("a pooled prompt of another width") {
    test::replace_in_file(unet, "embeddings_input_dim\": 80", "embeddings_input_dim\": 88");
    CHECK_THROWS_WITH(load(),
                      Contains("projection_class_embeddings_input_dim is 88, but") && Contains("is 80"));
  }
  SECTION("the base is of another architecture") {
    options.base = options.weights;
    options.base_vae.clear();
    CHECK_THROWS_WITH(load(), Contains("has no folder 'vae/'"));
  }
}
