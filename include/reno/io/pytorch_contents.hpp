// The two layouts of torch.save (https://pytorch.org/docs/stable/notes/serialization.html): a zip file with
// one pickle and one member per storage, and before PyTorch 1.6 five pickles followed by the storages. Finds
// the tensors that the pickle describes and the bytes of every storage, and checks that both fit. The
// archives of torch.jit.save are zip files of the same kind with a program beside, which nobody looks at.
#pragma once

#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/pickle_reader.hpp"
#include "reno/io/pickle_state_dict.hpp"
#include "reno/io/pickle_tensor.hpp"
#include "reno/io/zip_archive.hpp"

namespace reno {

/// What a file of torch.save holds.
struct PytorchContents {
  struct Storage {
    at::ScalarType dtype = at::ScalarType::Undefined;
    std::int64_t size = 0;   ///< elements
    std::string_view bytes;  ///< of the file; their number fits dtype and size
  };
  std::string root;  ///< path of the dictionary that the names are relative to
  std::vector<TensorRecord> tensors;
  std::unordered_map<std::string, Storage> storages;  ///< by key; has those of all tensors
};

/// Whether the archive is a TorchScript program with its weights: it has code and the constants of that code.
inline bool is_torchscript(const ZipArchive& archive, const std::string& archive_root) {
  return archive.find(archive_root + "/constants.pkl") &&
         std::ranges::any_of(archive.entries(), [&](const ZipEntry& entry) {
           return entry.name.starts_with(archive_root + "/code/");
         });
}

/// What the pickle of such an archive may name besides: the program's classes, whose objects have the weights
/// as attributes, and the functions that restore typed lists, which hold none.
inline PickleGlobalUse torchscript_global(std::string_view module, std::string_view name) {
  if (module == "__torch__" || module.starts_with("__torch__.")) return PickleGlobalUse::object;
  if (module == "torch.jit._pickle") return PickleGlobalUse::ignored;
  return state_dict_global(module, name);
}

/// The folder that a PyTorch archive keeps everything in; its name is arbitrary.
inline std::string pytorch_archive_root(const ZipArchive& archive, const std::string& path) {
  constexpr std::string_view pickle = "/data.pkl";
  std::string root;
  for (const ZipEntry& entry : archive.entries()) {
    if (!entry.name.ends_with(pickle) || entry.name.find('/') != entry.name.size() - pickle.size()) continue;
    if (!root.empty()) throw LoadError(path + ": is not a PyTorch file: it has more than one data.pkl");
    root = entry.name.substr(0, entry.name.size() - pickle.size());
  }
  if (root.empty()) throw LoadError(path + ": is a zip file but not a PyTorch file: it has no data.pkl");
  return root;
}

/// Reads the structure of the file `bytes`, which must outlive the result. Throws LoadError.
class PytorchContentsReader {
 public:
  /// `root` as in PytorchFileOptions.
  PytorchContentsReader(std::string_view bytes, std::string path, std::optional<std::string> root)
      : bytes_(bytes), path_(std::move(path)), wanted_root_(std::move(root)) {}

  PytorchContents read() {
    if (ZipArchive::is_zip(bytes_)) {
      read_zip();
    } else {
      read_legacy();
    }
    return std::move(contents_);
  }

 private:
  using Storage = PytorchContents::Storage;

  [[noreturn]] void fail(const std::string& problem) const { throw LoadError(path_ + ": " + problem); }

  // ---- the zip format ----

  void read_zip() {
    const ZipArchive archive(bytes_, path_);
    const std::string root = pytorch_archive_root(archive, path_);
    const bool program = is_torchscript(archive, root);
    if (program && !wanted_root_) wanted_root_ = "";  // a part that is called "model" is not the whole
    const ZipEntry* byteorder = archive.find(root + "/byteorder");
    if (byteorder && archive.stored(*byteorder) != "little") {
      fail("its byte order is " + in_quotes(archive.stored(*byteorder)) + ", only little is read");
    }
    const std::string member = root + "/data.pkl";
    const PickleSite site{path_, member};
    const Pickle pickle = PickleReader(archive.stored(*archive.find(member)), site,
                                       program ? torchscript_global : state_dict_global)
                              .read();
    read_pickle(pickle, site, false);
    for (auto& [key, storage] : contents_.storages) {
      const ZipEntry* entry = archive.find(root + "/data/" + key);
      if (!entry) fail("the storage " + in_quotes(key) + " is missing");
      storage.bytes = archive.stored(*entry);
      if (storage.bytes.size() != byte_size(storage)) {
        fail(fmt::format("the storage {} has {} bytes instead of {}", in_quotes(key), storage.bytes.size(),
                         byte_size(storage)));
      }
    }
  }

  // ---- the legacy format: magic number, protocol version, system, object, list of storages; then the
  // storages ----

  void read_legacy() {
    // 0x1950a86a20f9469cfc6c as a pickled integer, with or without a frame around it.
    constexpr std::string_view magic = "\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    const std::size_t magic_at = bytes_.substr(0, 32).find(magic);
    if (magic_at == std::string_view::npos) refuse_unknown_format();
    std::size_t position = magic_at + magic.size();
    const auto next = [&] {
      const PickleSite site{path_, "", position};
      Pickle pickle = PickleReader(bytes_.substr(position), site, state_dict_global).read();
      position += pickle.size;
      return std::pair(std::move(pickle), site);
    };
    check_protocol_version(next().first);
    check_system(next().first);
    const auto [pickle, site] = next();
    read_pickle(pickle, site, true);
    const Pickle keys = next().first;
    take_legacy_storages(bytes_.substr(position), keys);
  }

  [[noreturn]] void refuse_unknown_format() const {
    if (bytes_.starts_with("version https://git-lfs")) {
      fail("is a Git LFS pointer instead of the weights; fetch them with `git lfs pull`");
    }
    fail("is not a PyTorch file: neither a zip archive nor the format before PyTorch 1.6");
  }

  void check_protocol_version(const Pickle& pickle) const {
    const auto* version = pickle.get<std::int64_t>(pickle.root);
    if (!version || *version != 1001) fail("its protocol version is not 1001");
  }

  void check_system(const Pickle& pickle) const {
    const auto* system = pickle.get<PickleDict>(pickle.root);
    const PickleRef* little = system ? pickle.find(*system, "little_endian") : nullptr;
    const bool* value = little ? pickle.get<bool>(*little) : nullptr;
    if (!value) fail("does not tell its byte order");
    if (!*value) fail("its byte order is big, only little is read");
  }

  void take_legacy_storages(std::string_view rest, const Pickle& keys) {
    const auto* list = keys.get<PickleList>(keys.root);
    if (!list) fail("has no list of storages");
    std::unordered_set<std::string_view> seen;
    for (const PickleRef ref : list->items) {
      const auto* key = keys.get<std::string_view>(ref);
      if (!key || !seen.insert(*key).second) fail("its list of storages is damaged");
      const auto found = contents_.storages.find(std::string(*key));
      if (found == contents_.storages.end()) fail("nothing tells the type of the storage " + in_quotes(*key));
      take_legacy_storage(rest, found->first, found->second);
    }
    if (seen.size() != contents_.storages.size()) fail("its list of storages is incomplete");
  }

  /// An int64 element count and the elements, from the front of `rest`.
  void take_legacy_storage(std::string_view& rest, const std::string& key, Storage& storage) const {
    const std::uint64_t size = byte_size(storage);
    if (rest.size() < 8 || rest.size() - 8 < size) fail("the storage " + in_quotes(key) + " is cut short");
    const auto count = boost::endian::load_little_s64(reinterpret_cast<const unsigned char*>(rest.data()));
    if (count != storage.size) {
      fail(fmt::format("the storage {} has {} elements instead of {}", in_quotes(key), count, storage.size));
    }
    storage.bytes = rest.substr(8, size);
    rest.remove_prefix(8 + size);
  }

  // ---- both ----

  void read_pickle(const Pickle& pickle, const PickleSite& site, bool legacy) {
    const TensorRecordReader reader(pickle, site, legacy);
    collect_storages(pickle, site, reader);
    StateDictReader dictionaries(pickle, site, reader);
    contents_.tensors = dictionaries.tensors(choose_root(pickle, dictionaries));
  }

  /// All that the pickle mentions: also those beside the chosen root, because legacy files state sizes
  /// nowhere else.
  void collect_storages(const Pickle& pickle, const PickleSite& site, const TensorRecordReader& reader) {
    for (PickleRef ref = 0; ref < pickle.nodes.size(); ++ref) {
      if (!pickle.get<PicklePersistentId>(ref)) continue;
      const StorageReference reference = reader.read_storage(ref);
      const Storage storage{reference.dtype, reference.size, {}};
      const Storage& known = contents_.storages.emplace(reference.key, storage).first->second;
      if (known.dtype != storage.dtype || known.size != storage.size) {
        site.fail(pickle.nodes[ref].byte,
                  fmt::format("the storage {} is described in two ways", in_quotes(reference.key)));
      }
    }
  }

  PickleRef choose_root(const Pickle& pickle, const StateDictReader& dictionaries) {
    const auto* top = pickle.get<PickleDict>(pickle.root);
    if (!top) fail("its top level is not a dictionary of tensors");
    if (wanted_root_ && wanted_root_->empty()) return pickle.root;
    const std::vector<std::string> usual{"state_dict", "model", "module"};
    for (const std::string& root : wanted_root_ ? std::vector{*wanted_root_} : usual) {
      if (const PickleRef* dictionary = dictionaries.find_dictionary(pickle.root, root)) {
        contents_.root = root;
        return *dictionary;
      }
    }
    if (!wanted_root_) return pickle.root;
    fail(fmt::format("has no dictionary {}; its top level has {}", in_quotes(*wanted_root_),
                     list_keys(pickle, *top)));
  }

  static std::string list_keys(const Pickle& pickle, const PickleDict& dict) {
    constexpr std::size_t most = 10;
    std::string list;
    for (std::size_t i = 0; i < dict.items.size() && i < most; ++i) {
      const auto* key = pickle.get<std::string_view>(dict.items[i].first);
      list += (i ? ", " : "") + (key ? in_quotes(*key) : std::string("something unnamed"));
    }
    return dict.items.size() > most ? list + ", ..." : list.empty() ? "nothing" : list;
  }

  std::uint64_t byte_size(const Storage& storage) const {
    std::uint64_t result = 0;
    if (__builtin_mul_overflow(static_cast<std::uint64_t>(storage.size), c10::elementSize(storage.dtype),
                               &result)) {
      fail("a storage's size overflows");
    }
    return result;
  }

  std::string_view bytes_;
  std::string path_;
  std::optional<std::string> wanted_root_;
  PytorchContents contents_;
};

}  // namespace reno
