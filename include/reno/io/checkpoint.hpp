// Finds the weights of one component in its directory: `<stem>.safetensors`, one of its variants
// (`<stem>.fp16.safetensors`), or the index of a sharded checkpoint (`<stem>.safetensors.index.json`,
// `<stem>.safetensors.index.fp16.json`), as diffusers and transformers name them.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/hub.hpp"
#include "reno/io/sharded.hpp"
#include "reno/io/tensor_file.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

namespace detail::checkpoint {

/// A weights file or index, by its name. Lower ranks are preferred: safetensors before pickles, one file
/// before shards.
struct WeightsName {
  std::string variant;
  std::size_t rank = 0;
};

/// "fp16" in "model.fp16.safetensors", but not the shard number in "model.fp16-00001-of-00002.safetensors".
inline bool is_variant(std::string_view text) {
  const auto letter = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_' || c == '-'; };
  return !text.empty() && std::all_of(text.begin(), text.end(), letter) &&
         text.find("-of-") == std::string_view::npos;
}

inline std::optional<WeightsName> parse_weights_name(std::string_view file, const std::string& stem) {
  constexpr std::array<std::string_view, 4> formats{"safetensors", "bin", "pt", "pth"};
  if (!file.starts_with(stem + ".")) return std::nullopt;
  auto parts = hub::split(file.substr(stem.size() + 1), '.');
  WeightsName name;
  const auto take_variant = [&](std::size_t position) {
    name.variant = parts[position];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(position));
    return is_variant(name.variant);
  };
  const bool index = parts.back() == "json";
  // Allowed: format | variant.format | format.index.json | format.index.variant.json |
  // variant.format.index.json
  if (index && parts.size() == 4) {
    if (!take_variant(parts[1] == "index" ? 2 : 0)) return std::nullopt;
  } else if (!index && parts.size() == 2) {
    if (!take_variant(0)) return std::nullopt;
  }
  if (parts.size() != (index ? 3 : 1) || (index && parts[1] != "index")) return std::nullopt;
  const auto format = std::find(formats.begin(), formats.end(), parts[0]);
  if (format == formats.end()) return std::nullopt;
  name.rank = 2 * static_cast<std::size_t>(format - formats.begin()) + (index ? 1 : 0);
  return name;
}

inline std::vector<std::string> file_names(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(directory, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
    names.push_back(entry->path().filename().string());
  if (error)
    throw LoadError(directory.string() + ": cannot be listed as a directory of weights: " + error.message());
  std::sort(names.begin(), names.end());
  return names;
}

/// The preferred file of each variant (plain weights: "").
inline std::map<std::string, std::string> find_variants(const std::vector<std::string>& files,
                                                        const std::string& stem) {
  std::map<std::string, std::pair<std::size_t, std::string>> best;
  // transformers calls its pickles differently
  const auto stems =
      stem == "model" ? std::vector<std::string>{stem, "pytorch_model"} : std::vector<std::string>{stem};
  for (std::size_t i = 0; i < stems.size(); ++i) {
    for (const auto& file : files) {
      const auto name = parse_weights_name(file, stems[i]);
      if (!name) continue;
      const auto candidate = std::pair(name->rank + 100 * i, file);
      const auto [known, added] = best.try_emplace(name->variant, candidate);
      if (!added) known->second = std::min(known->second, candidate);
    }
  }
  std::map<std::string, std::string> variants;
  for (const auto& [variant, file] : best) variants.emplace(variant, file.second);
  return variants;
}

inline std::string list(const std::vector<std::string>& names) {
  constexpr std::size_t most = 20;
  std::string text;
  for (std::size_t i = 0; i < names.size() && i < most; ++i) text += (i == 0 ? "" : ", ") + names[i];
  return names.empty() ? "nothing" : names.size() > most ? text + ", …" : text;
}

}  // namespace detail::checkpoint

/// Whether a directory holds weights of exactly this variant; "" are the plain ones.
inline bool has_checkpoint(const std::filesystem::path& directory, const std::string& stem,
                           const std::string& variant) {
  return detail::checkpoint::find_variants(detail::checkpoint::file_names(directory), stem).contains(variant);
}

/// The file or index that `open_checkpoint` would open in a directory. Throws LoadError that lists what is
/// there.
inline std::filesystem::path find_checkpoint(const std::filesystem::path& directory, const std::string& stem,
                                             const std::string& variant = "") {
  const auto files = detail::checkpoint::file_names(directory);
  const auto variants = detail::checkpoint::find_variants(files, stem);
  if (const auto exact = variants.find(variant); exact != variants.end()) return directory / exact->second;
  if (variant.empty() && variants.size() == 1) return directory / variants.begin()->second;
  if (variant.empty() && !variants.empty()) {
    std::vector<std::string> names;
    for (const auto& [name, file] : variants) names.push_back(name);
    throw LoadError(directory.string() + ": has no plain " + stem +
                    ".safetensors but several variants, choose one of " + detail::checkpoint::list(names));
  }
  throw LoadError(directory.string() + ": has no weights " + stem + (variant.empty() ? "" : "." + variant) +
                  ".safetensors (nor their index), it holds " + detail::checkpoint::list(files));
}

/// Opens one component's weights. `path` is a directory, in which `stem` ("model", "diffusion_pytorch_model")
/// and `variant` ("fp16") choose, or directly a weights file or an index, which is opened as it is. A variant
/// that is given must be there. Without one the plain weights are taken, or, if there are none, the only
/// variant.
inline std::shared_ptr<const TensorSource> open_checkpoint(const std::filesystem::path& path,
                                                           const std::string& stem,
                                                           const std::string& variant = "") {
  std::error_code none;
  const auto file =
      std::filesystem::is_regular_file(path, none) ? path : find_checkpoint(path, stem, variant);
  if (file.extension() == ".json") return std::make_shared<const ShardedSource>(file);
  return open_tensor_file(file);
}

}  // namespace reno
