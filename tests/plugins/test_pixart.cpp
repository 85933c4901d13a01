// The generator pixart against diffusers, end to end.
#include <catch2/catch.hpp>
#include <filesystem>

#include "../../plugins/generators/pixart/pixart.hpp"
#include "generator_checks.hpp"
#include "io/pytorch_builder.hpp"
#include "reno/nn/meta_kernels.hpp"

using namespace reno;
using namespace reno::test;
namespace fs = std::filesystem;

namespace {

PixArt load(const fs::path& folder, const Context& context = {}, PixArt::Options options = {}) {
  options.weights = folder / "base";
  options.dmd = folder / "dmd";
  return {options, context};
}

/// The pipeline behind the plugin, at its native size.
PixArtAlpha load_pipeline(const fs::path& folder) {
  const c10::NoGradGuard no_grad;
  const PixArtFiles files{{folder / "base", "", {}}, {folder / "dmd", "", {}}};
  const PixArtConfig config(files);
  return {files, config, {config.native_size(), config.native_size()}, {}};
}

/// The tensors as torch.save writes them.
std::string as_pickle(const SafetensorsFile& weights) {
  std::vector<std::string> items;
  pytorch::StorageBytes storages;
  for (const auto& name : weights.names()) {
    const auto tensor = weights.read(name).contiguous();
    const auto key = std::to_string(storages.size());
    items.push_back(pytorch::text(name));
    items.push_back(pytorch::tensor({.key = key, .size = tensor.numel()}, 0, tensor.sizes().vec(),
                                    tensor.strides().vec()));
    storages.emplace_back(key,
                          std::string(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()));
  }
  return pytorch::pytorch_zip(pytorch::dict(items), storages);
}

fs::path small_model() { return fs::path(RENO_TEST_DATA) / "goldens/a/generators/pixart"; }

}  // namespace

TEST_CASE("pixart: token ids and masks agree with transformers", "[plugins][goldens]") {
  for (const auto& golden : goldens("generators/pixart")) {
    const auto model = load_pipeline(golden.folder);
    const auto prompts = prompts_of(golden);
    const auto tokens = model.tokenize(prompts);
    const auto expected = ids_of(golden, "tokenizer");
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      INFO(prompts[i]);
      CHECK(tokens[i].ids == expected[i]);
      const auto mask = "text." + std::to_string(i) + ".attention_mask";
      if (golden.has(mask))
        CHECK(at::equal(at::tensor(tokens[i].attention_mask(), at::kLong).unsqueeze(0), golden[mask]));
    }
  }
}

TEST_CASE("pixart: what happens between noise and image agrees with diffusers", "[plugins][goldens]") {
  const c10::NoGradGuard no_grad;
  for (const auto& golden : goldens("generators/pixart")) {
    const auto model = load_pipeline(golden.folder);
    const auto check = [&](const std::string& name, const at::Tensor& got, double tolerance = 1e-5) {
      if (golden.has(name)) check_to_largest("pixart " + name, got, golden[name], tolerance);
    };
    const auto prompt = model.encode({prompts_of(golden)[0]});
    const auto noise = golden["latents"];
    const auto output = model.transformer(noise, model.positions, model.time, prompt);
    check("one_step.model_out", output);
    const auto latents = model.denoise(noise, prompt);
    check("one_step.final_latents", latents);
    check("one_step.decoder_in", latents / model.config.vae.scaling_factor);
    check("one_step.decoder_out", model.sample(noise, prompt));
    if (golden.has("vae.in")) check("vae.out", model.vae(golden["vae.in"]));
  }
}

TEST_CASE("pixart: image and gradient of one step agree with diffusers in all memory modes",
          "[plugins][goldens]") {
  for (const auto& golden : goldens("generators/pixart")) {
    for (const auto memory : {MemoryMode::fast, MemoryMode::balanced, MemoryMode::lean}) {
      Context context;
      context.memory = memory;
      auto generator = load(golden.folder, context);
      const auto result = image_and_gradient(golden, generator);
      check_absolute("pixart image", result.image, golden["image"], 1e-5);
      check_relative_norm("pixart grad", result.gradient, golden["grad"], 1e-4);
    }

    Context in_double;
    in_double.dtype = at::kDouble;
    auto exact = load(golden.folder, in_double);
    const auto wide = image_and_gradient(golden, exact, at::kDouble);
    CHECK(wide.image.scalar_type() == at::kDouble);
    check_absolute("pixart image (float64)", wide.image, golden["image"], 1e-5);
    check_relative_norm("pixart grad (float64)", wide.gradient, golden["grad"], 1e-4);
  }
}

TEST_CASE("pixart: shapes and their resizing agree with diffusers", "[plugins][goldens]") {
  for (const auto& golden : goldens("generators/pixart")) {
    for (const auto& [sample_size, rows] : golden.json["size_bins"].items())
      for (const auto& row : rows) {
        INFO(sample_size << ": " << row);
        CHECK(nearest_bin({row[0], row[1]}, std::stoll(sample_size)) == Resolution{row[2], row[3]});
      }
    for (const auto& size : {Resolution{16, 12}, Resolution{32, 24}, Resolution{24, 24}, Resolution{20, 9}}) {
      const auto name = fmt::format("resize.{}x{}", size.height, size.width);
      check_absolute("pixart " + name, resize_and_crop(golden["resize.in"], size), golden[name], 1e-6);
    }
  }
}

TEST_CASE("pixart: another size is made in a trained shape, resized and cropped", "[plugins]") {
  const TemporaryFolder folder;
  const auto model = writable_copy(small_model(), folder);
  replace_in_file(model / "dmd/transformer/config.json", "\"sample_size\": 8", "\"sample_size\": 32");
  PixArt::Options options;
  options.size.height = 100;
  options.size.width = 300;
  const auto generator = load(model, {}, options);
  CHECK(generator.noise_shape() == std::vector<std::int64_t>{4, 144 / 8, 432 / 8});  // the ratio 0.33
  const auto noise = at::randn({1, 4, 18, 54}).requires_grad_(true);
  const auto image = generator.generate(noise, generator.encode({"a cat"}));
  CHECK(image.sizes() == at::IntArrayRef({1, 3, 100, 300}));
  image.sum().backward();
  CHECK(noise.grad().isfinite().all().item<bool>());

  options.binning = false;
  CHECK_THROWS_WITH(load(model, {}, options), Catch::Contains("height = 100 is not a multiple of 16"));
  options.size.height = 96;
  options.size.width = 304;
  const auto exact = load(model, {}, options);
  CHECK(exact.noise_shape() == std::vector<std::int64_t>{4, 12, 38});
  CHECK(exact.generate(at::randn({1, 4, 12, 38}), exact.encode({"a cat"})).sizes() ==
        at::IntArrayRef({1, 3, 96, 304}));
}

TEST_CASE("pixart: a transformer that is published as a pickle makes the same image", "[plugins]") {
  const TemporaryFolder folder;
  const auto model = writable_copy(small_model(), folder);
  fs::remove(model / "dmd/transformer/diffusion_pytorch_model.safetensors");
  const auto weights =
      open_safetensors(small_model() / "dmd/transformer/diffusion_pytorch_model.safetensors");
  folder.write("model/dmd/transformer/diffusion_pytorch_model.bin", as_pickle(*weights));
  const auto noise = at::randn({1, 4, 8, 8});
  const auto from_pickle = load(model), plain = load(small_model());
  const Prompts prompt{"a cat"};
  check_absolute("pixart image from a pickle", from_pickle.generate(noise, from_pickle.encode(prompt)),
                 plain.generate(noise, plain.encode(prompt)), 1e-5);  // sums depend on alignment
}

TEST_CASE("pixart runs in half precision", "[plugins]") {
  const auto reference = load(small_model());
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    Context context;
    context.dtype = dtype;
    const auto generator = load(small_model(), context);
    const auto conditioning = generator.encode({"a cat"});
    CHECK(conditioning.caption.scalar_type() == dtype);
    CHECK_FALSE(conditioning.caption.requires_grad());
    const auto noise = at::randn({1, 4, 8, 8}).requires_grad_(true);
    const auto image = generator.generate(noise, conditioning);
    CHECK(image.scalar_type() == dtype);
    image.sum().backward();
    CHECK(noise.grad().scalar_type() == at::kFloat);
    CHECK(noise.grad().isfinite().all().item<bool>());
    check_absolute(std::string("pixart image in ") + c10::toString(dtype), image.detach(),
                   reference.generate(noise.detach(), reference.encode({"a cat"})),
                   dtype == at::kHalf ? 0.02 : 0.15);
  }
}

TEST_CASE("pixart runs on the meta device, backwards too", "[plugins]") {
  register_meta_kernels();
  Context context;
  context.device = at::kMeta;
  context.dtype = at::kHalf;
  const auto generator = load(small_model(), context);
  const auto noise = at::empty({2, 4, 8, 8}, at::TensorOptions(at::kMeta)).requires_grad_(true);
  const auto image = generator.generate(noise, generator.encode({"a cat", "a dog"}));
  CHECK(image.sizes() == at::IntArrayRef({2, 3, 64, 64}));
  image.sum().backward();
  CHECK(noise.grad().sizes() == noise.sizes());
}

TEST_CASE("pixart: what is wrong with its directories is said in one sentence", "[plugins]") {
  using Catch::Contains;
  const TemporaryFolder folder;
  const auto model = writable_copy(small_model(), folder);
  SECTION("a component is missing") {
    fs::remove_all(model / "dmd/scheduler");
    CHECK_THROWS_WITH(load(model), Contains("dmd: has no folder 'scheduler/'"));
  }
  SECTION("components of different models") {
    replace_in_file(model / "dmd/transformer/config.json", "\"caption_channels\": 32",
                    "\"caption_channels\": 40");
    CHECK_THROWS_WITH(load(model), Contains("do not fit: the transformer's caption_channels is 40, but the "
                                            "text encoder's d_model is 32"));
  }
  SECTION("no such variant") {
    PixArt::Options options;
    options.variant = "fp16";
    CHECK_THROWS_WITH(load(model, {}, options),
                      Contains("base: no component has weights of the variant 'fp16'"));
  }
}
