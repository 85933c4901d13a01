// report.html: before and after of every prompt with its numbers, one self-contained page that needs no
// network and no script.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/transform_width.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reno/image/png.hpp"
#include "reno/io/atomic_file.hpp"
#include "reno/loop.hpp"

namespace reno {

/// Text as HTML content or attribute value.
inline std::string escape_html(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

inline std::string encode_base64(const std::string& bytes) {
  using boost::archive::iterators::base64_from_binary;
  using boost::archive::iterators::transform_width;
  using Encode = base64_from_binary<transform_width<std::string::const_iterator, 6, 8>>;
  std::string encoded(Encode(bytes.begin()), Encode(bytes.end()));
  return encoded.append((3 - bytes.size() % 3) % 3, '=');
}

/// An image (3,H,W) in [0,1] as an <img> that carries its data.
inline std::string html_image(const at::Tensor& image, std::string_view description) {
  return fmt::format("<img alt=\"{}\" src=\"data:image/png;base64,{}\">", escape_html(description),
                     encode_base64(encode_png(image)));
}

/// Collects the page while a run goes on. Prompts beyond the first `max_prompts` are counted, not shown.
class Report {
 public:
  static constexpr std::int64_t max_prompts = 64;

  explicit Report(std::vector<std::string> rewards) : rewards_(std::move(rewards)) {}

  /// `refined`: the outcome in the images of `[refine]`, where there are such.
  void add(const std::string& prompt, const ImageResult& result,
           const std::optional<ImageResult>& refined = {}) {
    if (++count_ > max_prompts) return;
    body_ +=
        fmt::format("<section><h2>{}</h2><div class=pair><figure>{}<figcaption>initial</figcaption></figure>",
                    escape_html(prompt), html_image(result.initial_image, "initial image"));
    body_ += fmt::format("<figure>{}<figcaption>best, iteration {}</figcaption></figure></div>",
                         html_image(result.best_image, "best image"), result.best_iteration);
    if (refined)
      body_ += fmt::format(
          "<div class=pair><figure>{}<figcaption>initial, refined</figcaption></figure>"
          "<figure>{}<figcaption>best, refined</figcaption></figure></div>",
          html_image(refined->initial_image, "initial image, refined"),
          html_image(refined->best_image, "best image, refined"));
    body_ += fmt::format("<table><tr><th>reward<th>initial<th>best{}</tr>",
                         refined ? "<th>initial, refined<th>best, refined" : "");
    for (std::size_t k = 0; k < rewards_.size(); ++k) {
      std::vector<double> values = {result.initial.scores[k], result.best.scores[k]};
      if (refined) values.insert(values.end(), {refined->initial.scores[k], refined->best.scores[k]});
      body_ += row(rewards_[k], values);
    }
    std::vector<double> totals = {result.initial.total, result.best.total};
    if (refined) totals.insert(totals.end(), {refined->initial.total, refined->best.total});
    body_ += row("total loss", totals) + "</table></section>\n";
  }

  /// settings: the resolved experiment file.
  void write(const std::filesystem::path& file, const std::string& title, const std::string& settings) const {
    const std::string more =
        count_ > max_prompts
            ? fmt::format("<p>… and {} more prompts, in results.jsonl.</p>", count_ - max_prompts)
            : "";
    write_file_atomically(
        file, fmt::format("<!doctype html>\n<html lang=en><meta charset=utf-8>"
                          "<meta name=viewport content=\"width=device-width,initial-scale=1\">"
                          "<title>{0}</title><style>{1}</style><h1>{0}</h1>\n{2}{3}"
                          "<details><summary>experiment.toml</summary><pre>{4}</pre></details></html>\n",
                          escape_html(title), style, body_, more, escape_html(settings)));
  }

 private:
  static constexpr std::string_view style =
      ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem "
      "auto;padding:0 1rem}"
      ".pair{display:flex;flex-wrap:wrap;gap:1rem}figure{margin:0;flex:1 1 14rem;max-width:32rem}"
      "img{width:100%;image-rendering:auto;border-radius:.5rem}figcaption{opacity:.7}table{border-collapse:"
      "collapse;margin:1rem 0}"
      "th,td{padding:.2rem 1rem;text-align:right;border-bottom:1px solid "
      "#8884}th:first-child,td:first-child{text-align:left}"
      "pre{overflow-x:auto}";

  static std::string row(const std::string& name, const std::vector<double>& values) {
    return fmt::format("<tr><td>{}<td>{:.4f}</tr>", escape_html(name), fmt::join(values, "<td>"));
  }

  std::vector<std::string> rewards_;
  std::int64_t count_ = 0;
  std::string body_;
};

}  // namespace reno
