// A vocabulary: token -> id. It comes from strangers, so every id is checked before it can index an
// embedding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/mapped_file.hpp"

namespace reno::text {

/// The text of a file as it is mapped; throws LoadError for one too large to be a tokeniser's.
inline std::string_view tokenizer_text(const MappedFile& file) {
  constexpr std::size_t largest = 100'000'000;
  if (file.size() > largest)
    throw LoadError(file.path().string() + ": has " + std::to_string(file.size()) +
                    " bytes, expected a tokenizer file of at most " + std::to_string(largest));
  return file.text();
}

/// A JSON value, shortened for a message.
inline std::string shown(const nlohmann::json& value) { return value.dump(-1, ' ', true).substr(0, 60); }

/// Lets maps of strings be searched with views.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

/// Every id from 0 to size - 1 belongs to one token.
class Vocabulary {
 public:
  /// `tokens[i]` has the id i. `file` is for messages. Throws LoadError if a token comes twice.
  Vocabulary(std::string file, std::vector<std::string> tokens) : file_(std::move(file)) {
    for (std::string& token : tokens) {
      const auto id = static_cast<std::int64_t>(ids_.size());
      const auto [known, is_new] = ids_.try_emplace(std::move(token), id);
      if (!is_new)
        throw LoadError(file_ + ": " + in_quotes(known->first) + " has two ids, " +
                        std::to_string(known->second) + " and " + std::to_string(id));
    }
  }

  /// From an object {"token": id}. Throws LoadError unless the ids are 0, 1, … in some order.
  Vocabulary(std::string file, const nlohmann::json& object) : file_(std::move(file)) {
    if (!object.is_object() || object.empty())
      throw LoadError(file_ + ": is not a vocabulary; expected an object {\"token\": id, ...}");
    const auto size = static_cast<std::int64_t>(object.size());
    std::vector<const std::string*> tokens(object.size(), nullptr);
    for (const auto& [token, value] : object.items()) {
      const std::int64_t id = value.is_number_integer() ? value.get<std::int64_t>() : -1;
      if (id < 0 || id >= size)
        throw LoadError(file_ + ": the id of " + in_quotes(token) + " is " + shown(value) +
                        "; expected an integer from 0 to " + std::to_string(size - 1) + " for " +
                        std::to_string(size) + " tokens");
      const std::string*& owner = tokens[static_cast<std::size_t>(id)];
      if (owner)
        throw LoadError(file_ + ": " + in_quotes(*owner) + " and " + in_quotes(token) + " have the same id " +
                        std::to_string(id));
      owner = &ids_.emplace(token, id).first->first;
    }
  }

  const std::string& file() const { return file_; }
  std::int64_t size() const { return static_cast<std::int64_t>(ids_.size()); }

  /// Null when there is no such token.
  const std::int64_t* find(std::string_view token) const {
    const auto found = ids_.find(token);
    return found == ids_.end() ? nullptr : &found->second;
  }

 private:
  std::string file_;
  std::unordered_map<std::string, std::int64_t, StringHash, std::equal_to<>> ids_;
};

}  // namespace reno::text
