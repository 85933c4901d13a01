// A checkpoint in several files: `model.safetensors.index.json` maps each tensor's name to the shard that
// holds it. The same layout serves transformers and diffusers, with or without a variant in the names, and
// shards of any format.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/tensor_file.hpp"
#include "reno/io/tensor_source.hpp"

namespace reno {

/// All shards are opened and checked at once (maps are cheap), so that a missing one is known before any work
/// is done. Tensors that the index does not list are not part of the checkpoint.
class ShardedSource : public TensorSource {
 public:
  explicit ShardedSource(std::filesystem::path index) : index_(std::move(index)) {
    std::map<std::string, std::shared_ptr<const TensorSource>> shards;
    const auto json = read_json_object(index_);
    const auto weight_map = json.find("weight_map");
    if (weight_map == json.end() || !weight_map->is_object())
      throw LoadError(description() +
                      ": has no object \"weight_map\", expected one from tensor names to shard files");
    for (const auto& [name, value] : weight_map->items()) {
      const std::string file = shard_name(name, value);
      auto& shard = shards[file];
      if (!shard) shard = open_shard(file);
      if (shard->find(name) == nullptr)
        throw LoadError(shard->description() + ": has no tensor " + in_quotes(name) + ", though " +
                        description() + " says so");
      owner_.emplace(name, shard);
    }
    for (const auto& [file, shard] : shards)
      for (auto& name : shard->names())
        if (const auto found = owner_.find(name); found != owner_.end() && found->second == shard)
          names_.push_back(std::move(name));
  }

  std::vector<std::string> names() const override { return names_; }

  const TensorInfo* find(const std::string& name) const override {
    const auto found = owner_.find(name);
    return found == owner_.end() ? nullptr : found->second->find(name);
  }

  at::Tensor read(const std::string& name) const override {
    const auto found = owner_.find(name);
    if (found == owner_.end()) throw LoadError(description() + ": has no tensor " + in_quotes(name));
    return found->second->read(name);
  }

  std::string description() const override { return index_.string(); }

 private:
  /// A shard lies beside its index. A path could name any file of this machine, so only plain file names are
  /// taken.
  std::string shard_name(const std::string& tensor, const nlohmann::json& value) const {
    const std::string complaint = description() + ": the shard of tensor " + in_quotes(tensor) + " is ";
    if (!value.is_string()) throw LoadError(complaint + value.type_name() + ", expected a file name");
    const auto& name = value.get_ref<const std::string&>();
    const bool plain = !name.empty() && name != "." && name != ".." &&
                       name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
    if (!plain)
      throw LoadError(complaint + in_quotes(name) + ", expected the plain name of a file beside the index");
    return name;
  }

  std::shared_ptr<const TensorSource> open_shard(const std::string& name) const {
    const auto path = index_.parent_path() / name;
    std::error_code none;
    if (!std::filesystem::exists(path, none))
      throw LoadError(path.string() + ": this shard is missing, but " + description() +
                      " lists it; is the download complete?");
    return open_tensor_file(path);
  }

  std::filesystem::path index_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, std::shared_ptr<const TensorSource>> owner_;
};

}  // namespace reno
