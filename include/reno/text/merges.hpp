// The merge list of a byte pair encoding, best first: merges.txt of transformers,
// bpe_simple_vocab_16e6.txt(.gz) of OpenAI's CLIP and open_clip, or the list inside a tokenizer.json.
#pragma once

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/io/mapped_file.hpp"
#include "reno/text/vocabulary.hpp"

namespace reno::text {

/// All CLIP tokenisers read this many merges of their file and ignore the rest (49,152 tokens without the
/// bytes and two specials).
inline constexpr std::size_t clip_merges = 49152 - 256 - 2;

/// Pairs of symbols, best first.
struct MergeList {
  std::string file;
  bool has_lines = true;  ///< a text file; otherwise an array in JSON
  std::vector<std::pair<std::string, std::string>> pairs;

  /// Where pair `i` stands, for messages.
  std::string place(std::size_t i) const {
    return has_lines ? file + ':' + std::to_string(i + 2)
                     : file + ": model.merges[" + std::to_string(i) + "]";
  }
};

namespace detail {

/// "left right", or nothing.
inline bool split_pair(std::string_view line, std::pair<std::string, std::string>& pair) {
  const std::size_t first = line.find(' ');
  if (first == std::string_view::npos || first == 0 || first + 1 == line.size()) return false;
  if (line.find(' ', first + 1) != std::string_view::npos) return false;
  pair = {std::string(line.substr(0, first)), std::string(line.substr(first + 1))};
  return true;
}

inline LoadError not_a_merge(const std::string& place, std::string_view found) {
  return LoadError(place + ": " + in_quotes(found) +
                   " is not a merge; expected two symbols with one space between them");
}

/// At most 64 MiB: OpenAI's list has 3.
inline std::string read_gzip(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, decltype(&gzclose)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (!file) throw LoadError(path.string() + ": cannot be read");
  std::string content;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const int count = gzread(file.get(), buffer.data(), buffer.size());
    if (count < 0) throw LoadError(path.string() + ": is not a gzip file, or damaged");
    if (count == 0) break;
    content.append(buffer.data(), static_cast<std::size_t>(count));
    if (content.size() > (64u << 20))
      throw LoadError(path.string() + ": unpacks to more than 64 MB; expected a merge list");
  }
  int status = Z_OK;
  gzerror(file.get(), &status);
  if (status != Z_OK) throw LoadError(path.string() + ": is not a gzip file, or damaged");
  return content;
}

}  // namespace detail

/// The first line is a heading, whatever it says. Throws LoadError with the line that is not a merge.
inline MergeList parse_merges(std::string file, std::string_view text) {
  MergeList merges{std::move(file), true, {}};
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  while (!text.empty() && merges.pairs.size() < clip_merges) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    text.remove_prefix(std::min(end + 1, text.size()));
    std::pair<std::string, std::string> pair;
    if (!detail::split_pair(line, pair)) throw detail::not_a_merge(merges.place(merges.pairs.size()), line);
    merges.pairs.push_back(std::move(pair));
  }
  return merges;
}

/// From a text file, which may be gzipped if its name says so.
inline MergeList read_merges(const std::filesystem::path& path) {
  if (path.extension() == ".gz") return parse_merges(path.string(), detail::read_gzip(path));
  return parse_merges(path.string(), tokenizer_text(MappedFile(path)));
}

/// `list` is an array of "left right" or ["left", "right"], as different versions of the tokenizers library
/// write it.
inline MergeList merges_of_json(std::string file, const nlohmann::json& list) {
  MergeList merges{std::move(file), false, {}};
  if (!list.is_array())
    throw LoadError(merges.file + ": model.merges is missing; expected an array of merges");
  for (const nlohmann::json& entry : list) {
    std::pair<std::string, std::string> pair;
    const bool two = entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string();
    if (two) pair = {entry[0].get<std::string>(), entry[1].get<std::string>()};
    if (!two && !(entry.is_string() && detail::split_pair(entry.get_ref<const std::string&>(), pair)))
      throw detail::not_a_merge(merges.place(merges.pairs.size()), shown(entry));
    merges.pairs.push_back(std::move(pair));
  }
  return merges;
}

}  // namespace reno::text
