// Files of prompts, read piece by piece: they may be longer than memory, and a single line is bounded.
#pragma once

#include <fmt/format.h>

#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/error.hpp"

namespace reno {

/// A text file and the place where reading has come to.
class PromptFile {
 public:
  /// No prompt is longer, nor is a line or object that holds one.
  static constexpr std::size_t longest = 1 << 20;

  /// Throws ConfigurationError when the file cannot be read.
  explicit PromptFile(std::filesystem::path file)
      : file_(std::move(file)), stream_(file_, std::ios::binary), buffer_(longest) {
    if (!stream_) throw ConfigurationError(fmt::format("{}: cannot be read", file_.string()));
    skip_byte_order_mark();
  }

  /// The next line without its end (LF or CRLF).
  std::optional<std::string> line() {
    stream_.getline(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    if (stream_.bad()) fail("cannot be read");
    if (stream_.fail() && stream_.gcount() > 0) fail("a line is longer than 1 MiB");
    if (stream_.fail()) return std::nullopt;
    ++line_;
    const auto size = static_cast<std::size_t>(stream_.gcount()) - (stream_.eof() ? 0 : 1);
    std::string_view text(buffer_.data(), size);
    if (text.ends_with('\r')) text.remove_suffix(1);
    return std::string(text);
  }

  /// The text of the next JSON object: of a line each, or of one array. The text need not be valid JSON.
  std::optional<std::string> object() {
    counts_ends_ = true;
    skip_separators();
    if (stream_.peek() == std::char_traits<char>::eof()) return std::nullopt;
    if (stream_.peek() != '{') fail("expected a JSON object");
    std::string text;
    bool quoted = false;
    for (int depth = 0; depth > 0 || text.empty();) {
      const char c = take();
      text += c;
      if (text.size() >= longest) fail("a JSON object is larger than 1 MiB");
      if (quoted && c == '\\') text += take();
      if (c == '"') quoted = !quoted;
      if (!quoted && (c == '{' || c == '[')) ++depth;
      if (!quoted && (c == '}' || c == ']')) --depth;
    }
    return text;
  }

  /// Whether the file begins with a JSON object or array. Only before anything is read.
  bool begins_with_json() {
    const auto begin = stream_.tellg();
    const int first = peek();
    stream_.clear();
    stream_.seekg(begin);
    line_ = 0;
    return first == '{' || first == '[';
  }

  /// Throws ConfigurationError that names file and line.
  [[noreturn]] void fail(const std::string& what) const {
    throw ConfigurationError(fmt::format("{}:{}: {}", file_.string(), line_ + (counts_ends_ ? 1 : 0), what));
  }

  const std::filesystem::path& path() const { return file_; }

 private:
  void skip_byte_order_mark() {
    std::string first(3, '\0');
    stream_.read(first.data(), 3);
    if (stream_.gcount() == 3 && first == "\xEF\xBB\xBF") return;
    stream_.clear();
    stream_.seekg(0);
  }

  /// The first character that is no white space; -1 at the end.
  int peek() {
    while (std::isspace(stream_.peek()) != 0) take();
    return stream_.peek();
  }

  void skip_separators() {
    for (int c = peek(); c == ',' || c == ']' || (c == '[' && !in_array_); c = peek()) {
      in_array_ = in_array_ || c == '[';
      take();
    }
  }

  char take() {
    const int c = stream_.get();
    if (c == std::char_traits<char>::eof()) fail("a JSON object has no end");
    if (c == '\n') ++line_;
    return static_cast<char>(c);
  }

  std::filesystem::path file_;
  std::ifstream stream_;
  std::vector<char> buffer_;
  std::int64_t line_ = 0;     ///< ends of lines that have been read
  bool counts_ends_ = false;  ///< what is read now stands behind the last of them
  bool in_array_ = false;
};

/// The cells of a line of tab-separated values. A cell in double quotes, its own quotes doubled, is unquoted
/// (as pandas and spreadsheets write); any other quote is part of the text.
inline std::vector<std::string> split_tab_separated(std::string_view line) {
  const auto unquote = [](std::string_view cell) {
    if (cell.size() < 2 || cell.front() != '"' || cell.back() != '"') return std::string(cell);
    std::string text;
    for (std::size_t i = 1; i + 1 < cell.size(); ++i) {
      text += cell[i];
      if (cell[i] == '"' && (i + 2 >= cell.size() || cell[++i] != '"')) return std::string(cell);
    }
    return text;
  };
  std::vector<std::string> cells;
  for (std::size_t begin = 0, end = 0; end != std::string_view::npos; begin = end + 1) {
    end = line.find('\t', begin);
    cells.push_back(unquote(line.substr(begin, end == std::string_view::npos ? end : end - begin)));
  }
  return cells;
}

}  // namespace reno
