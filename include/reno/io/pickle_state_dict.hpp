// From the pickle of a checkpoint to its named tensors: nested dictionaries are joined by '.', everything
// that is no tensor is passed over. The pickle may share or contain itself, so the walk is bounded in depth
// and length.
#pragma once

#include <fmt/format.h>

#include <boost/locale/utf.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "reno/io/json_file.hpp"
#include "reno/io/pickle_tensor.hpp"
#include "reno/io/pickle_value.hpp"

namespace reno {

/// Reads the tensors out of a checkpoint's pickle. Throws LoadError for whatever does not describe one
/// properly.
class StateDictReader {
 public:
  static constexpr int max_depth = 64;
  static constexpr std::size_t max_visits = std::size_t{1} << 21;  ///< shared parts count every time
  static constexpr std::size_t max_tensors = std::size_t{1} << 16;
  static constexpr std::size_t max_name = 512;  ///< bytes

  StateDictReader(const Pickle& pickle, const PickleSite& site, const TensorRecordReader& reader)
      : pickle_(pickle), site_(site), reader_(reader) {}

  /// All tensors below the dictionary `root`, in the order of the file.
  std::vector<TensorRecord> tensors(PickleRef root) {
    visit(root, "", 0);
    return std::move(tensors_);
  }

  /// The nested dictionary at the dotted `path`; a key may itself contain dots. Null if there is none.
  const PickleRef* find_dictionary(PickleRef dictionary, std::string_view path) const {
    const auto* dict = pickle_.get<PickleDict>(dictionary);
    if (!dict) return nullptr;
    for (std::size_t dot = path.find('.');; dot = path.find('.', dot + 1)) {
      const PickleRef* value = pickle_.find(*dict, path.substr(0, dot));
      if (dot == std::string_view::npos) return value && pickle_.get<PickleDict>(*value) ? value : nullptr;
      if (const PickleRef* inner = value ? find_dictionary(*value, path.substr(dot + 1)) : nullptr)
        return inner;
    }
  }

 private:
  [[noreturn]] void fail(PickleRef ref, std::string_view problem) const {
    site_.fail(pickle_.nodes[ref].byte, problem);
  }

  /// Numbers, strings and whatever else is no tensor and no container are passed over.
  void visit(PickleRef ref, const std::string& name, int depth) {
    if (depth > max_depth) fail(ref, fmt::format("objects are nested more than {} deep", max_depth));
    if (const auto* dict = pickle_.get<PickleDict>(ref)) {
      for (const auto& [key, value] : dict->items)
        visit_item(value, name, depth, [&] { return key_text(key); });
    } else if (const auto* list = items(ref)) {
      for (std::size_t i = 0; i < list->size(); ++i) {
        visit_item((*list)[i], name, depth, [&] { return std::to_string(i); });
      }
    } else if (pickle_.get<PickleCall>(ref)) {
      add_tensor(ref, name);
    }
  }

  const std::vector<PickleRef>* items(PickleRef ref) const {
    if (const auto* list = pickle_.get<PickleList>(ref)) return &list->items;
    const auto* tuple = pickle_.get<PickleTuple>(ref);
    return tuple ? &tuple->items : nullptr;
  }

  /// `key` is asked for only where it can become part of a tensor's name.
  void visit_item(PickleRef value, const std::string& parent, int depth, const auto& key) {
    if (++visits_ > max_visits) fail(value, "the checkpoint has too many entries");
    if (!pickle_.get<PickleDict>(value) && !items(value) && !pickle_.get<PickleCall>(value)) return;
    const std::string name = depth == 0 ? key() : parent + "." + key();
    if (name.size() > max_name) fail(value, fmt::format("the name {} is too long", in_quotes(name)));
    visit(value, name, depth + 1);
  }

  std::string key_text(PickleRef key) const {
    if (const auto* number = pickle_.get<std::int64_t>(key)) return std::to_string(*number);
    const auto* text = pickle_.get<std::string_view>(key);
    if (!text) fail(key, "a dictionary's key is neither a string nor an integer");
    if (!is_printable(*text))
      fail(key, fmt::format("the key {} is not printable UTF-8 text", in_quotes(*text)));
    return std::string(*text);
  }

  static bool is_printable(std::string_view text) {
    using Utf8 = boost::locale::utf::utf_traits<char>;
    for (auto at = text.begin(); at != text.end();) {
      const auto code_point = Utf8::decode(at, text.end());
      const bool valid =
          code_point != boost::locale::utf::illegal && code_point != boost::locale::utf::incomplete;
      if (!valid || code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0)) return false;
    }
    return true;
  }

  void add_tensor(PickleRef ref, const std::string& name) {
    if (!names_.insert(name).second)
      fail(ref, fmt::format("there are two tensors named {}", in_quotes(name)));
    if (tensors_.size() >= max_tensors) fail(ref, fmt::format("there are more than {} tensors", max_tensors));
    tensors_.push_back(reader_.read(ref));
    tensors_.back().name = name;
  }

  const Pickle& pickle_;
  const PickleSite& site_;
  const TensorRecordReader& reader_;
  std::size_t visits_ = 0;
  std::vector<TensorRecord> tensors_;
  std::unordered_set<std::string> names_;
};

}  // namespace reno
