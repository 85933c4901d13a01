// Pictures of a page: carried inside of it as data as long as there is room, linked by a relative path beyond
// that. A page that holds thousands of pictures would not open.
#pragma once

#include <fmt/format.h>

#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/transform_width.hpp>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/io/mapped_file.hpp"
#include "reno/report/png_header.hpp"

namespace reno::report {

inline std::string encode_base64(std::string_view bytes) {
  using boost::archive::iterators::base64_from_binary;
  using boost::archive::iterators::transform_width;
  using Encode = base64_from_binary<transform_width<std::string_view::const_iterator, 6, 8>>;
  std::string encoded(Encode(bytes.begin()), Encode(bytes.end()));
  return encoded.append((3 - bytes.size() % 3) % 3, '=');
}

/// A path as a relative URL: every byte but the harmless ones is escaped, so it need not be text.
inline std::string encode_url(const std::filesystem::path& path) {
  constexpr std::string_view harmless = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
  std::string url;
  for (const char c : path.generic_string()) {
    if (harmless.find(c) != std::string_view::npos) {
      url += c;
    } else {
      url += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return url;
}

class Pictures {
 public:
  /// page_folder: where the page will be, which links are relative to. budget: bytes of PNG that it carries.
  Pictures(std::filesystem::path root, const std::filesystem::path& page_folder, std::uint64_t budget)
      : root_(std::move(root)),
        prefix_(std::filesystem::proximate(std::filesystem::absolute(root_),
                                           std::filesystem::absolute(page_folder))),
        left_(budget) {}

  /// The files, relative to the root, that belong together: all of them are carried or none is. For each
  /// {"src", "width", "height"}, or null where there is no picture.
  std::vector<nlohmann::ordered_json> add(const std::vector<std::filesystem::path>& files) {
    std::uint64_t bytes = 0;
    std::vector<nlohmann::ordered_json> pictures;
    for (const auto& file : files) {
      auto& picture = pictures.emplace_back();
      const auto size = file.empty() ? std::nullopt : png_size(root_ / file);
      if (!size) continue;
      bytes += std::filesystem::file_size(root_ / file);
      picture["width"] = size->first;
      picture["height"] = size->second;
    }
    if (bytes == 0) return pictures;
    const bool carried = bytes <= left_;
    left_ = carried ? left_ - bytes
                    : 0;  // what follows is linked: the first ones are carried, not a random choice
    (carried ? carried_ : linked_) += 1;
    for (std::size_t i = 0; i < files.size(); ++i) {
      if (!pictures[i].is_null()) pictures[i]["src"] = carried ? data(root_ / files[i]) : url(files[i]);
    }
    return pictures;
  }

  /// The link to a file, relative to the root.
  std::string url(const std::filesystem::path& file) const {
    return encode_url((prefix_ / file).lexically_normal());
  }

  std::int64_t carried() const { return carried_; }  ///< calls of `add` whose pictures the page carries
  std::int64_t linked() const { return linked_; }

 private:
  static std::string data(const std::filesystem::path& file) {
    return "data:image/png;base64," + encode_base64(MappedFile(file).text());
  }

  std::filesystem::path root_;
  std::filesystem::path prefix_;
  std::uint64_t left_;
  std::int64_t carried_ = 0;
  std::int64_t linked_ = 0;
};

}  // namespace reno::report
