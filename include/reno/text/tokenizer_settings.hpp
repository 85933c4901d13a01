// What a transformers directory says about a CLIP tokeniser beside its vocabulary: special tokens, tokens
// added later, length limit. In the newer layout tokenizer_config.json says everything
// ("added_tokens_decoder"); in the older one special_tokens_map.json overrides it, and added_tokens.json and
// tokenizer.json add to it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/text/vocabulary.hpp"

namespace reno::text {

/// A token that is found in the text as it stands, before the text is cut into words.
struct AddedToken {
  std::string content;
  std::int64_t id = 0;
  bool normalized = false;  ///< the fast tokeniser looks for it after cleaning and lower-casing the text
};

struct TokenizerSettings {
  AddedToken start;
  AddedToken end;
  AddedToken pad;
  std::vector<AddedToken> added;  ///< all of them, those above included
  std::int64_t max_length = 77;
};

namespace detail {

inline nlohmann::json read_optional_json(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored) ? read_json_object(path) : nlohmann::json::object();
}

/// Gathers the settings of one directory.
class SettingsReader {
 public:
  SettingsReader(const std::filesystem::path& directory, const Vocabulary& vocabulary)
      : directory_(directory),
        vocabulary_(vocabulary),
        config_file_((directory / "tokenizer_config.json").string()) {}

  /// `fast`: the flags of added tokens in tokenizer.json win over those in tokenizer_config.json.
  TokenizerSettings read(bool fast) {
    const nlohmann::json config = read_optional_json(config_file_);
    const nlohmann::json fast_file = read_optional_json(directory_ / "tokenizer.json");
    const bool newer_layout = config.contains("added_tokens_decoder");
    if (fast || !newer_layout) add_fast_tokens(fast_file);
    if (newer_layout) add_decoder(config["added_tokens_decoder"]);
    take_specials(config, config_file_);
    if (!newer_layout) read_older_layout();
    TokenizerSettings settings;
    settings.start = special("bos_token", "<|startoftext|>");
    settings.end = special("eos_token", "<|endoftext|>");
    special("unk_token", "<|endoftext|>");
    settings.pad = special("pad_token", "<|endoftext|>");
    for (const Special& token : additional_) resolve("additional_special_tokens", token);
    settings.max_length = max_length(config);
    for (auto& [content, token] : added_) settings.added.push_back(std::move(token));
    return settings;
  }

 private:
  [[noreturn]] static void fail(const std::string& file, const std::string& problem) {
    throw LoadError(file + ": " + problem);
  }

  /// The first to name a token decides on its flags.
  void add(const std::string& file, const std::string& content, const nlohmann::json& id,
           const nlohmann::json& flags) {
    constexpr std::int64_t largest = std::numeric_limits<std::int32_t>::max();
    if (content.empty()) fail(file, "an added token is empty");
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() > largest)
      fail(file, "the id of the added token " + in_quotes(content) + " is " + shown(id) +
                     "; expected an integer from 0 to " + std::to_string(largest));
    for (const char* flag : {"lstrip", "rstrip", "single_word"})
      if (flags.contains(flag) && flags[flag] != false)
        fail(file,
             "the added token " + in_quotes(content) + " has " + flag + " set, which CLIP's tokens have not");
    const bool normalized = flags.contains("normalized") && flags["normalized"] == true;
    const AddedToken token{content, id.get<std::int64_t>(), normalized};
    const std::int64_t* known = vocabulary_.find(content);
    if (known ? *known != token.id : token.id < vocabulary_.size())
      fail(file, "the added token " + in_quotes(content) + " has the id " + std::to_string(token.id) +
                     ", but " + vocabulary_.file() +
                     (known ? " gives it " + std::to_string(*known) : " has another token there"));
    const auto& [content_, first] = *added_.try_emplace(content, token).first;
    if (first.id != token.id)
      fail(file, "the added token " + in_quotes(content) + " has two ids, " + std::to_string(first.id) +
                     " and " + std::to_string(token.id));
    const auto& [id_, owner] = *owners_.try_emplace(token.id, content).first;
    if (owner != content)
      fail(file, "the added tokens " + in_quotes(owner) + " and " + in_quotes(content) +
                     " have the same id " + std::to_string(token.id));
  }

  void add_fast_tokens(const nlohmann::json& fast_file) {
    const std::string file = (directory_ / "tokenizer.json").string();
    const nlohmann::json tokens = fast_file.value("added_tokens", nlohmann::json::array());
    for (const nlohmann::json& token : tokens) {
      if (!token.is_object() || !token.contains("id") || !token.contains("content") ||
          !token["content"].is_string())
        fail(file, "added_tokens: expected objects with \"id\" and \"content\"");
      add(file, token["content"].get<std::string>(), token["id"], token);
    }
  }

  void add_decoder(const nlohmann::json& decoder) {
    if (!decoder.is_object())
      fail(config_file_, "added_tokens_decoder: expected an object {\"id\": {\"content\": ...}, ...}");
    for (const auto& [id, token] : decoder.items()) {
      const bool digits = !id.empty() && id.size() <= 10 &&
                          std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
      if (!digits) fail(config_file_, "added_tokens_decoder: " + in_quotes(id) + " is not an id");
      if (!token.is_object() || !token.contains("content") || !token["content"].is_string())
        fail(config_file_, "added_tokens_decoder." + id + ": expected an object with \"content\"");
      add(config_file_, token["content"].get<std::string>(), std::stoll(id), token);
    }
  }

  void read_older_layout() {
    const std::filesystem::path map_file = directory_ / "special_tokens_map.json";
    take_specials(read_optional_json(map_file), map_file.string());
    const std::filesystem::path added_file = directory_ / "added_tokens.json";
    const nlohmann::json added = read_optional_json(added_file);
    for (const auto& [content, id] : added.items()) {
      add(added_file.string(), content, id, {{"normalized", !is_special(content)}});
    }
  }

  struct Special {
    std::string content;
    bool normalized = false;
    std::string file;
  };

  /// A string, or an object with "content" and perhaps "normalized".
  static Special read_special(const std::string& key, const nlohmann::json& value, bool normalized,
                              const std::string& file) {
    if (value.is_string()) return {value.get<std::string>(), normalized, file};
    if (!value.is_object() || !value.contains("content") || !value["content"].is_string())
      fail(file, key + ": expected a token, or an object with \"content\"");
    return {value["content"].get<std::string>(), value.value("normalized", nlohmann::json(true)) == true,
            file};
  }

  void take_specials(const nlohmann::json& source, const std::string& file) {
    for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
      if (!source.contains(key)) continue;
      // As transformers: of bare strings, only the pad token is looked for in the text as it stands.
      specials_[key] = read_special(key, source[key], std::string(key) != "pad_token", file);
    }
    for (const nlohmann::json& token : source.value("additional_special_tokens", nlohmann::json::array()))
      additional_.push_back(read_special("additional_special_tokens", token, false, file));
  }

  bool is_special(const std::string& content) const {
    const auto named = [&](const auto& special) { return special.second.content == content; };
    const auto additional = [&](const Special& special) { return special.content == content; };
    return std::any_of(specials_.begin(), specials_.end(), named) ||
           std::any_of(additional_.begin(), additional_.end(), additional);
  }

  AddedToken special(const std::string& key, const char* otherwise) {
    return resolve(key, specials_.try_emplace(key, Special{otherwise, true, config_file_}).first->second);
  }

  /// The special token with its id.
  AddedToken resolve(const std::string& key, const Special& chosen) {
    const auto added = added_.find(chosen.content);
    if (added != added_.end()) return added->second;
    const std::int64_t* id = vocabulary_.find(chosen.content);
    if (!id)
      fail(chosen.file, key + " is " + in_quotes(chosen.content) + ", which is neither in " +
                            vocabulary_.file() + " nor among the added tokens");
    add(chosen.file, chosen.content, *id, {{"normalized", chosen.normalized}});
    return added_.at(chosen.content);
  }

  /// transformers writes about 1e30 where there is no limit; CLIP's position embeddings have 77 rows then.
  std::int64_t max_length(const nlohmann::json& config) const {
    for (const char* side : {"padding_side", "truncation_side"})
      if (config.contains(side) && config[side] != "right")
        fail(config_file_,
             std::string(side) + " is " + shown(config[side]) + "; CLIP pads and cuts on the right");
    const nlohmann::json value = config.value("model_max_length", nlohmann::json(77));
    if (!value.is_number() || value.get<double>() < 2)
      fail(config_file_, "model_max_length is " + shown(value) + "; expected at least 2");
    return value.get<double>() > 1e6 ? 77 : value.get<std::int64_t>();
  }

  std::filesystem::path directory_;
  const Vocabulary& vocabulary_;
  std::string config_file_;
  std::map<std::string, AddedToken> added_;
  std::map<std::int64_t, std::string> owners_;
  std::map<std::string, Special> specials_;
  std::vector<Special> additional_;
};

}  // namespace detail

/// Reads the settings of a transformers directory; files that are not there change nothing. `fast`: as the
/// fast tokeniser does. Throws LoadError for a special token without an id, for ids that contradict the
/// vocabulary, and for settings CLIP does not have.
inline TokenizerSettings read_tokenizer_settings(const std::filesystem::path& directory,
                                                 const Vocabulary& vocabulary, bool fast) {
  return detail::SettingsReader(directory, vocabulary).read(fast);
}

}  // namespace reno::text
