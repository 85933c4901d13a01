// The published models of all that the experiments in configs/ name: every tensor has its name and shape, and
// the files are holes. A dry run, which reads nothing else, finds them in a hub cache as if they were
// downloaded.
#pragma once

#include <c10/util/accumulate.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "reno/io/invented_source.hpp"
#include "reno/io/json_file.hpp"
#include "support/hub_cache.hpp"

namespace reno::test {

class HollowModels {
 public:
  /// Whether the names and shapes are there: they lie beside the checkout.
  static bool possible() { return std::filesystem::exists(manifests()); }

  HollowModels() {
    const Parts sdxl = {{"unet", "sdxl-base.unet"},
                        {"vae", "sdxl-base.vae"},
                        {"text_encoder", "clip-l.text_encoder"},
                        {"text_encoder_2", "clip-bigg.text_encoder_2"}};
    auto turbo = sdxl;
    turbo["unet"] = "sdxl-turbo.unet";
    add_model("stabilityai/sd-turbo",
              {{"unet", "sd-turbo.unet"}, {"vae", "sd-turbo.vae"}, {"text_encoder", "clip-h.text_encoder"}},
              "sd-turbo", "sd-turbo/model", ".fp16");
    add_model("stabilityai/sdxl-turbo", turbo, "sdxl-turbo", "sdxl-turbo/model", ".fp16");
    add_model("stabilityai/stable-diffusion-xl-base-1.0", sdxl, "sdxl-base", "sdxl-turbo/model", ".fp16");
    add_model("PixArt-alpha/PixArt-XL-2-1024-MS",
              {{"vae", "pixart.vae"}, {"text_encoder", "t5-v1_1-xxl.encoder"}}, "", "pixart/base");
    add_model("PixArt-alpha/PixArt-Alpha-DMD-XL-2-512x512", {{"transformer", "pixart-dmd-512.transformer"}},
              "pixart-dmd-512", "");
    add_model("black-forest-labs/FLUX.1-schnell",
              {{"transformer", "flux-schnell.transformer"},
               {"vae", "flux-schnell.vae"},
               {"text_encoder", "clip-l.text_encoder"},
               {"text_encoder_2", "t5-v1_1-xxl.encoder"}},
              "flux-schnell", "flux-schnell/model");
    write_hollow(cache_.workshop() / "diffusion_pytorch_model.safetensors", "sdxl-vae-fp16-fix");
    copy_config("sdxl-vae-fp16-fix", cache_.workshop() / "config.json");
    cache_.take("madebyollin/sdxl-vae-fp16-fix", cache_.workshop());
    write_hollow(cache_.workshop() / "Hyper-SDXL-1step-Unet.safetensors", "sdxl-base.unet");
    cache_.take("ByteDance/Hyper-SD", cache_.workshop());
    add_rewards();
  }

  /// Bytes of the largest weights file among these.
  std::int64_t largest_component(const std::vector<std::string>& ids) const {
    std::uintmax_t largest = 0;
    for (const auto& id : ids)
      for (const auto& blob : cache_.blobs(id)) largest = std::max(largest, std::filesystem::file_size(blob));
    return static_cast<std::int64_t>(largest);
  }

  static std::vector<std::string> rewards() {
    return {"laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "yuvalkirstain/PickScore_v1", "xswu/HPSv2",
            "THUDM/ImageReward"};
  }

 private:
  using Parts = std::map<std::string, std::string>;  ///< folder -> name of the manifest

  static std::filesystem::path shared() {
    return std::filesystem::path(RENO_SOURCE_DIR) / "../shared/goldens";
  }
  static std::filesystem::path manifests() { return shared() / "manifests"; }

  static void copy_config(const std::string& manifest, const std::filesystem::path& to) {
    std::filesystem::copy(manifests() / (manifest + ".config.json"), to);
  }

  /// A weights file of these names and shapes: a hole of that size.
  static void write_hollow(const std::filesystem::path& file, const std::string& manifest) {
    const auto shapes = nlohmann::json::parse(std::ifstream(manifests() / (manifest + ".manifest.json")))
                            .at("parameters")
                            .get<TensorShapes>();
    nlohmann::json header;
    std::int64_t offset = 0;
    for (const auto& [name, shape] : shapes) {
      const auto end = offset + 2 * c10::multiply_integers(shape);
      header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {offset, end}}};
      offset = end;
    }
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(&length), sizeof length)
        << text;
    std::filesystem::resize_file(file, sizeof length + length + static_cast<std::uint64_t>(offset));
  }

  /// `tokenizers`: the tiny model whose tokenizers it has.
  void add_model(const std::string& id, const Parts& parts, const std::string& scheduler,
                 const std::string& tokenizers, const std::string& variant = "") {
    const auto root = cache_.workshop();
    for (const auto& [folder, manifest] : parts) {
      const std::string stem = folder.starts_with("text_encoder") ? "model" : "diffusion_pytorch_model";
      write_hollow(root / folder / (stem + variant + ".safetensors"), manifest);
      copy_config(manifest, root / folder / "config.json");
    }
    if (!scheduler.empty()) {
      std::filesystem::create_directories(root / "scheduler");
      std::filesystem::copy(manifests() / (scheduler + ".scheduler_config.json"),
                            root / "scheduler/scheduler_config.json");
    }
    for (const char* tokenizer : {"tokenizer", "tokenizer_2"})
      if (const auto from = shared() / "a/generators" / tokenizers / tokenizer;
          !tokenizers.empty() && std::filesystem::exists(from))
        std::filesystem::copy(from, root / tokenizer, std::filesystem::copy_options::recursive);
    cache_.take(id, root);
  }

  void add_rewards() {
    const std::map<std::string, std::pair<std::string, std::string>> files = {
        {"clip", {rewards()[0], "model.safetensors"}},
        {"pickscore", {rewards()[1], "model.safetensors"}},
        {"hpsv2", {rewards()[2], "HPS_v2.1_compressed.pt"}},
        {"imagereward", {rewards()[3], "ImageReward.pt"}}};
    const auto tiny = std::filesystem::path(RENO_TEST_DATA) / "goldens/a/rewards";
    for (const auto& [name, published] : files) {
      const auto root = cache_.workshop();
      write_hollow(root / published.second, "reward." + name);
      const auto config = read_json_object(manifests() / ("reward." + name + ".config.json"));
      if (name == "imagereward")
        std::ofstream(root / "med_config.json") << config.at("med_config");
      else if (name != "hpsv2")
        std::ofstream(root / "config.json") << config;
      if (name == "clip" || name == "pickscore")
        for (const char* file : {"vocab.json", "merges.txt", "tokenizer_config.json"})
          std::filesystem::copy(tiny / "clip" / file, root / file);
      cache_.take(published.first, root);
    }
    std::filesystem::copy(tiny / "imagereward/vocab.txt", cache_.workshop() / "vocab.txt");
    cache_.take("bert-base-uncased", cache_.workshop());
  }

  HubCache cache_;
};

}  // namespace reno::test
