// How a pickle describes one tensor: dtype, shape, strides, and which elements of which storage it views.
// Everything that could send a view out of its storage is checked here; where the storages lie is the
// container's business (pytorch_file.hpp).
#pragma once

#include <c10/core/ScalarType.h>
#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/io/pickle_value.hpp"

namespace reno {

/// Storage classes of torch and their element type; untyped storages count bytes.
inline std::optional<at::ScalarType> storage_dtype(std::string_view module, std::string_view name) {
  static constexpr auto classes = std::to_array<std::pair<std::string_view, at::ScalarType>>({
      {"FloatStorage", at::kFloat},
      {"HalfStorage", at::kHalf},
      {"BFloat16Storage", at::kBFloat16},
      {"DoubleStorage", at::kDouble},
      {"LongStorage", at::kLong},
      {"IntStorage", at::kInt},
      {"ShortStorage", at::kShort},
      {"CharStorage", at::kChar},
      {"ByteStorage", at::kByte},
      {"BoolStorage", at::kBool},
      {"ComplexFloatStorage", at::kComplexFloat},
      {"ComplexDoubleStorage", at::kComplexDouble},
      {"UntypedStorage", at::kByte},
  });
  if (module != "torch" && !(module == "torch.storage" && name == "UntypedStorage")) return std::nullopt;
  for (const auto& [class_name, dtype] : classes) {
    if (class_name == name) return dtype;
  }
  return std::nullopt;
}

/// The Python names that a state dict needs; every other one is refused.
inline PickleGlobalUse state_dict_global(std::string_view module, std::string_view name) {
  if (module == "collections" && name == "OrderedDict") return PickleGlobalUse::callable;
  if (module == "torch._utils" && (name == "_rebuild_tensor_v2" || name == "_rebuild_parameter")) {
    return PickleGlobalUse::callable;
  }
  return storage_dtype(module, name) ? PickleGlobalUse::reference : PickleGlobalUse::refused;
}

/// A storage as a pickle refers to it. All numbers count elements.
struct StorageReference {
  std::string key;
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::int64_t size = 0;
  std::int64_t view_offset = 0;  ///< the part that may be used; all of it except in old legacy files
  std::int64_t view_size = 0;
};

/// One tensor of a checkpoint: elements of a storage, known to lie within it. All numbers count elements.
struct TensorRecord {
  std::string name;
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
  std::string storage_key;
  std::int64_t offset = 0;
  std::int64_t extent = 0;  ///< from the first element to behind the last; 0 if there is none
};

/// Reads the calls by which torch.save describes tensors. Throws LoadError, with the byte, for a call that
/// does not describe one properly.
class TensorRecordReader {
 public:
  static constexpr std::size_t max_dimensions = 64;
  /// A view may repeat elements (stride 0), so its size is not bounded by its storage; beyond this it is.
  static constexpr std::int64_t max_repeated = std::int64_t{1} << 24;

  /// `legacy` is the format before PyTorch 1.6, whose storage references have a sixth field.
  TensorRecordReader(const Pickle& pickle, PickleSite site, bool legacy)
      : pickle_(pickle), site_(std::move(site)), legacy_(legacy) {}

  /// The tensor (without a name) that the call at `ref` describes.
  TensorRecord read(PickleRef ref) const { return read_tensor(unwrap_parameter(ref)); }

  /// The storage that the persistent id at `ref` refers to: ('storage', class, key, device, size[, view]),
  /// with view None or (key, offset, size).
  StorageReference read_storage(PickleRef ref) const {
    const PickleRef id = expect<PicklePersistentId>(ref, "a tensor's storage").id;
    const auto& fields = expect<PickleTuple>(id, "a storage").items;
    const std::size_t expected = legacy_ ? 6 : 5;
    if (fields.size() != expected) fail(ref, fmt::format("a storage does not have {} fields", expected));
    if (expect<std::string_view>(fields[0], "a storage's kind") != "storage")
      fail(ref, "a reference is not to a storage");
    const auto& type = expect<PickleGlobal>(fields[1], "a storage's class");
    const auto dtype = storage_dtype(type.module, type.name);
    if (!dtype) fail(ref, "a storage's class is not a storage class");
    const std::string key(expect<std::string_view>(fields[2], "a storage's key"));
    const std::int64_t size = count(fields[4], "a storage's size");
    StorageReference storage{key, *dtype, size, 0, size};
    if (legacy_ && !pickle_.get<PickleNone>(fields[5])) narrow(ref, storage, fields[5]);
    return storage;
  }

 private:
  template <class T>
  const T& expect(PickleRef ref, std::string_view what) const {
    const T* value = pickle_.get<T>(ref);
    if (!value) fail(ref, fmt::format("{} has the wrong type", what));
    return *value;
  }

  [[noreturn]] void fail(PickleRef ref, std::string_view problem) const {
    site_.fail(pickle_.nodes[ref].byte, problem);
  }

  /// The arguments of a call of torch._utils.`function` if `ref` is one, otherwise null.
  const std::vector<PickleRef>* arguments(PickleRef ref, std::string_view function) const {
    const auto* call = pickle_.get<PickleCall>(ref);
    const auto* global = call ? pickle_.get<PickleGlobal>(call->function) : nullptr;
    if (!global || !global->is("torch._utils", function)) return nullptr;
    return &expect<PickleTuple>(call->arguments, "a call's argument list").items;
  }

  /// _rebuild_parameter(tensor, requires_grad, backward_hooks) is a tensor as far as weights go.
  PickleRef unwrap_parameter(PickleRef ref) const {
    const auto* fields = arguments(ref, "_rebuild_parameter");
    if (!fields) return ref;
    if (fields->size() != 3) fail(ref, "a parameter does not have 3 fields");
    return fields->front();
  }

  /// _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward_hooks[, metadata])
  TensorRecord read_tensor(PickleRef ref) const {
    const auto* fields = arguments(ref, "_rebuild_tensor_v2");
    if (!fields || fields->size() < 6 || fields->size() > 7)
      fail(ref, "a tensor is not described by 6 or 7 fields");
    if (fields->size() == 7) refuse_metadata(fields->at(6));
    const StorageReference storage = read_storage(fields->at(0));
    TensorRecord tensor;
    tensor.dtype = storage.dtype;
    tensor.storage_key = storage.key;
    tensor.shape = counts(fields->at(2), "a tensor's shape");
    tensor.strides = counts(fields->at(3), "a tensor's strides");
    place(ref, tensor, count(fields->at(1), "a tensor's offset"), storage);
    return tensor;
  }

  /// The metadata of complex tensors says that the stored numbers are to be conjugated or negated.
  void refuse_metadata(PickleRef metadata) const {
    const auto* dict = pickle_.get<PickleDict>(metadata);
    if (!pickle_.get<PickleNone>(metadata) && !(dict && dict->items.empty())) {
      fail(metadata, "a tensor with metadata (a conjugate or negative view) is not supported");
    }
  }

  std::int64_t count(PickleRef ref, std::string_view what) const {
    const std::int64_t value = expect<std::int64_t>(ref, what);
    if (value < 0) fail(ref, fmt::format("{} is negative", what));
    return value;
  }

  std::vector<std::int64_t> counts(PickleRef ref, std::string_view what) const {
    const auto& items = expect<PickleTuple>(ref, what).items;
    if (items.size() > max_dimensions) fail(ref, fmt::format("{} has too many dimensions", what));
    std::vector<std::int64_t> result;
    for (const PickleRef item : items) result.push_back(count(item, what));
    return result;
  }

  void narrow(PickleRef ref, StorageReference& storage, PickleRef view_ref) const {
    const auto& view = expect<PickleTuple>(view_ref, "a storage view").items;
    if (view.size() != 3) fail(ref, "a storage view does not have 3 fields");
    storage.view_offset = count(view[1], "a storage view's offset");
    storage.view_size = count(view[2], "a storage view's size");
    if (storage.view_offset > storage.size || storage.view_size > storage.size - storage.view_offset) {
      fail(ref, "a storage view leaves its storage");
    }
  }

  /// Computes the elements that a tensor spans and makes sure that they lie within the storage.
  void place(PickleRef ref, TensorRecord& tensor, std::int64_t offset,
             const StorageReference& storage) const {
    if (tensor.shape.size() != tensor.strides.size())
      fail(ref, "a tensor's shape and strides differ in length");
    const std::int64_t available = storage.view_size;
    std::int64_t elements = 1;  // not counting empty dimensions, so that nobody's product of sizes overflows
    std::int64_t last = offset;
    bool empty = false;
    bool overflow = false;
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
      const std::int64_t size = tensor.shape[i];
      std::int64_t step = 0;
      empty |= size == 0;
      if (size == 0) continue;
      overflow |= __builtin_mul_overflow(elements, size, &elements);
      overflow |= __builtin_mul_overflow(size - 1, tensor.strides[i], &step);
      overflow |= __builtin_add_overflow(last, step, &last);
    }
    if (overflow) fail(ref, "a tensor's size overflows");
    if (empty) return;
    if (last >= available) {
      fail(ref, fmt::format("a tensor reaches to element {} of a storage of {}", last, available));
    }
    if (elements > available && elements > max_repeated) fail(ref, "a tensor repeats its storage too often");
    tensor.offset = storage.view_offset + offset;
    tensor.extent = last - offset + 1;
  }

  const Pickle& pickle_;
  PickleSite site_;
  bool legacy_;
};

}  // namespace reno
