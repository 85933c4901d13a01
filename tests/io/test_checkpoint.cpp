#include <ATen/ATen.h>
#include <spdlog/sinks/ostream_sink.h>

#include <catch2/catch.hpp>
#include <sstream>

#include "reno/io/checkpoint.hpp"
#include "reno/io/pretrained.hpp"
#include "reno/io/safetensors.hpp"
#include "support/temporary_folder.hpp"

using reno::find_checkpoint;
using reno::LoadError;
using reno::open_checkpoint;
using reno::test::message_of;
using reno::test::TemporaryFolder;

namespace {

/// The name of the file that is chosen among `files`, or the error with the directory's name left out.
std::string chosen(const std::vector<std::string>& files, const std::string& stem,
                   const std::string& variant = "") {
  const TemporaryFolder folder;
  for (const auto& file : files) folder.write(file, "x");
  std::string name;
  auto message =
      message_of<LoadError>([&] { name = find_checkpoint(folder.path(), stem, variant).filename(); });
  if (message == "no error") return name;
  return message.substr(message.find(": ") + 2);
}

}  // namespace

TEST_CASE("The plain weights are taken when no variant is asked for") {
  CHECK(chosen({"model.safetensors", "model.fp16.safetensors", "config.json"}, "model") ==
        "model.safetensors");
  CHECK(chosen({"model.safetensors.index.json", "model-00001-of-00002.safetensors",
                "model-00002-of-00002.safetensors"},
               "model") == "model.safetensors.index.json");
  CHECK(chosen({"model.safetensors.index.json", "model.safetensors"}, "model") == "model.safetensors");
  CHECK(chosen({"model.safetensors", "model_ema.safetensors"}, "model") == "model.safetensors");
}

TEST_CASE("A variant that is asked for is taken in every spelling of the libraries") {
  CHECK(chosen({"model.safetensors", "model.fp16.safetensors"}, "model", "fp16") == "model.fp16.safetensors");
  CHECK(chosen({"model.safetensors", "model.safetensors.index.fp16.json",
                "model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"},
               "model", "fp16") == "model.safetensors.index.fp16.json");
  CHECK(chosen({"m.fp16.safetensors.index.json", "m.safetensors"}, "m", "fp16") ==
        "m.fp16.safetensors.index.json");
  CHECK(chosen({"diffusion_pytorch_model.non_ema.safetensors", "diffusion_pytorch_model.safetensors"},
               "diffusion_pytorch_model", "non_ema") == "diffusion_pytorch_model.non_ema.safetensors");
}

TEST_CASE("The only variant is taken when there is nothing else") {
  CHECK(chosen({"model.fp16.safetensors", "config.json"}, "model") == "model.fp16.safetensors");
  CHECK(chosen({"model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors",
                "model.safetensors.index.fp16.json"},
               "model") == "model.safetensors.index.fp16.json");
}

TEST_CASE("Safetensors come before pickles") {
  CHECK(chosen({"model.bin", "model.safetensors"}, "model") == "model.safetensors");
  CHECK(chosen({"pytorch_model.bin", "model.safetensors.index.json"}, "model") ==
        "model.safetensors.index.json");
  CHECK(chosen({"pytorch_model.bin"}, "model") == "pytorch_model.bin");
  CHECK(chosen({"pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"}, "model") ==
        "pytorch_model.bin.index.json");
  CHECK(chosen({"diffusion_pytorch_model.bin"}, "diffusion_pytorch_model") == "diffusion_pytorch_model.bin");
  CHECK(chosen({"m.bin", "m.fp16.safetensors"}, "m") == "m.bin");  // a plain file is asked for
}

TEST_CASE("What is missing or ambiguous is an error that lists what is there") {
  CHECK(chosen({"config.json", "model.safetensors"}, "model", "fp16") ==
        "has no weights model.fp16.safetensors (nor their index), it holds config.json, model.safetensors");
  CHECK(chosen({}, "model") == "has no weights model.safetensors (nor their index), it holds nothing");
  CHECK(chosen({"model.fp16.safetensors", "model.bf16.safetensors"}, "model") ==
        "has no plain model.safetensors but several variants, choose one of bf16, fp16");
  CHECK(chosen({"model.safetensors.txt", "model.a.b.safetensors", "model.index.json", "model..safetensors",
                "model.json"},
               "model")
            .starts_with("has no weights model.safetensors"));
  const TemporaryFolder folder;
  CHECK(message_of<LoadError>([&] { find_checkpoint(folder / "unet", "model"); }) ==
        (folder / "unet").string() +
            ": cannot be listed as a directory of weights: No such file or directory");
  std::vector<std::string> many;
  for (int i = 100; i < 130; ++i) many.push_back("f" + std::to_string(i));
  CHECK(chosen(many, "model").ends_with("f118, f119, …"));
}

TEST_CASE("A checkpoint opens from a directory, an index or a file") {
  const TemporaryFolder folder;
  reno::write_safetensors(folder / "m.fp16-00001-of-00001.safetensors", {{"w", at::ones({2}, at::kHalf)}});
  const auto index = folder.write("m.safetensors.index.fp16.json",
                                  R"({"weight_map":{"w":"m.fp16-00001-of-00001.safetensors"}})");
  for (const auto& path : {folder.path(), index, folder / "m.fp16-00001-of-00001.safetensors"})
    CHECK(at::equal(open_checkpoint(path, "m")->read("w"), at::ones({2}, at::kHalf)));
  CHECK(open_checkpoint(folder.path(), "m", "fp16")->description() == index.string());
}

TEST_CASE("The reference pipelines' checkpoints open: shards, variants, both styles of names") {
  const std::filesystem::path goldens = RENO_SOURCE_DIR "/../shared/goldens/a/generators";
  if (!std::filesystem::exists(goldens)) {
    WARN("skipped: " << goldens << " is not there");
    return;
  }
  const auto unet = open_checkpoint(goldens / "sd-turbo/model/unet", "diffusion_pytorch_model");
  CHECK(unet->description().ends_with("diffusion_pytorch_model.safetensors.index.json"));
  CHECK(unet->read("conv_in.weight").dim() == 4);
  CHECK(open_checkpoint(goldens / "flux-schnell/model/text_encoder_2", "model")->names().size() > 10);
  const auto text = goldens / "sd-turbo/model/text_encoder";
  const auto plain = open_checkpoint(text, "model");
  const auto half = open_checkpoint(text, "model", "fp16");
  REQUIRE(plain->names().size() == half->names().size());
  for (const auto& name : plain->names()) {
    CAPTURE(name);
    if (half->find(name)->dtype == at::kHalf)
      CHECK(at::equal(plain->read(name).to(at::kHalf), half->read(name)));
  }
}

TEST_CASE("A component without the variant gives its plain weights and says so, but some must have it") {
  const TemporaryFolder folder;
  const auto write = [&](const std::string& name, float value) {
    std::filesystem::create_directories((folder / name).parent_path());
    reno::write_safetensors(folder / name, {{"x", at::full({1}, value)}});
  };
  write("unet/diffusion_pytorch_model.safetensors", 1);
  write("unet/diffusion_pytorch_model.fp16.safetensors", 2);
  write("vae/diffusion_pytorch_model.safetensors", 3);
  write("vae/diffusion_pytorch_model.ema.safetensors", 4);
  write("text_encoder/model.ema.safetensors", 5);
  std::ostringstream said;
  reno::Context context;
  context.log =
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_st>(said));
  context.log->set_pattern("%v");
  const reno::Pretrained files(folder.path(), "fp16", context);
  const auto value = [&](const reno::Pretrained& from, const char* component, const char* stem) {
    return from.source(component, stem)->read("x").item<float>();
  };
  CHECK(value(files, "unet", "diffusion_pytorch_model") == 2);
  CHECK(said.str().empty());
  CHECK(value(files, "vae", "diffusion_pytorch_model") == 3);
  CHECK(said.str() ==
        (folder / "vae").string() +
            ": there is no variant 'fp16' of diffusion_pytorch_model, the plain weights are taken\n");
  CHECK_THAT(message_of<LoadError>([&] { value(files, "text_encoder", "model"); }),
             Catch::Contains("has no weights model.fp16.safetensors (nor their index), it holds "
                             "model.ema.safetensors"));
  CHECK(message_of<LoadError>([&] { reno::Pretrained(folder.path(), "fp61", context); }) ==
        folder.path().string() +
            ": no component has weights of the variant 'fp61'; without `variant` the plain ones are taken");
  const reno::Pretrained preferred(folder.path(), "fp61", context, reno::Variant::preferred);
  CHECK(value(preferred, "unet", "diffusion_pytorch_model") == 1);
}
