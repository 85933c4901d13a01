// PNG files, read back by libpng's own reader.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <fstream>

#include "reno/image/png.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace reno;
using namespace reno::test;

struct Decoded {
  at::Tensor pixels;  // (H,W,3)
  std::vector<PngText> texts;
  std::vector<int> compressions;
};

/// Libpng's own error handling: it prints and aborts, which fails the test.
Decoded decode(const std::string& bytes) {
  REQUIRE(png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, 8) == 0);
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  std::string_view rest = bytes;
  png_set_read_fn(png, &rest, [](png_structp reader, png_bytep data, png_size_t size) {
    auto& source = *static_cast<std::string_view*>(png_get_io_ptr(reader));
    if (size > source.size()) png_error(reader, "too short");
    std::memcpy(data, source.data(), size);
    source.remove_prefix(size);
  });
  png_read_info(png, info);
  Decoded result;
  const auto height = static_cast<std::int64_t>(png_get_image_height(png, info));
  const auto width = static_cast<std::int64_t>(png_get_image_width(png, info));
  REQUIRE(png_get_color_type(png, info) == PNG_COLOR_TYPE_RGB);
  REQUIRE(png_get_bit_depth(png, info) == 8);
  result.pixels = at::empty({height, width, 3}, at::kByte);
  for (std::int64_t y = 0; y < height; ++y)
    png_read_row(png, result.pixels.data_ptr<std::uint8_t>() + y * width * 3, nullptr);
  png_read_end(png, info);
  CHECK(rest.empty());
  png_textp texts = nullptr;
  const int count = png_get_text(png, info, &texts, nullptr);
  for (int i = 0; i < count; ++i) {
    const auto& text = texts[i];
    const auto length = text.compression == PNG_ITXT_COMPRESSION_NONE ? text.itxt_length : text.text_length;
    result.texts.push_back({text.key, std::string(text.text, length)});
    result.compressions.push_back(text.compression);
  }
  png_destroy_read_struct(&png, &info, nullptr);
  return result;
}

TEST_CASE("an image comes back as it was rounded", "[png]") {
  at::manual_seed(1);
  for (const auto& [height, width] : {std::pair{1, 1}, {5, 7}, {64, 33}}) {
    const at::Tensor image = at::rand({3, height, width}) * 1.4 - 0.2;  // out of range on both sides
    const Decoded decoded = decode(encode_png(image));
    CHECK(at::equal(decoded.pixels, to_bytes(image)));
    CHECK(decoded.texts.empty());
  }
}

TEST_CASE("texts come back: Latin-1 as tEXt, the rest as iTXt", "[png]") {
  const std::vector<PngText> texts = {{"parameters", "a cat\nSteps: 1, Seed: 0"},
                                      {"accents", "caf\u00e9 \u00ff"},
                                      {"greek", "\u03b1 cat \U0001F642"},
                                      {"empty", ""},
                                      {"long", std::string(3'000'000, 'x')}};
  const Decoded decoded = decode(encode_png(at::zeros({3, 4, 4}), texts));
  REQUIRE(decoded.texts.size() == texts.size());
  const std::vector<std::string> expected = {texts[0].text, "caf\xe9 \xff", texts[2].text, "", texts[4].text};
  for (std::size_t i = 0; i < texts.size(); ++i) {
    INFO(texts[i].keyword);
    CHECK(decoded.texts[i].keyword == texts[i].keyword);
    CHECK(decoded.texts[i].text == expected[i]);
    CHECK(decoded.compressions[i] == (i == 2 ? PNG_ITXT_COMPRESSION_NONE : PNG_TEXT_COMPRESSION_NONE));
  }
}

TEST_CASE("what a PNG cannot hold becomes a replacement character", "[png]") {
  using namespace std::string_literals;
  const Decoded decoded = decode(encode_png(at::zeros({3, 4, 4}), {{"nul", "a\0b"s},
                                                                   {"bad",
                                                                    "a\xFF"
                                                                    "b"}}));
  REQUIRE(decoded.texts.size() == 2);
  CHECK(decoded.texts[0].text == "a\uFFFDb");
  CHECK(decoded.texts[1].text == "a\uFFFDb");
}

TEST_CASE("an image that PNG cannot hold is an error with libpng's reason", "[png]") {
  CHECK_THROWS_WITH(encode_png(at::zeros({3, 0, 4})),
                    Catch::Contains("cannot be encoded as PNG: ") && Catch::Contains("IHDR"));
}

TEST_CASE("a PNG reads back as it was written, to the nearest of 256 steps", "[png]") {
  const TemporaryFolder folder;
  const at::Tensor image = at::rand({3, 5, 7});
  write_png(folder.path() / "image.png", image);
  const at::Tensor read = read_png(folder.path() / "image.png");
  REQUIRE(read.sizes() == image.sizes());
  CHECK((read - image).abs().max().item<double>() <= 0.5 / 255 + 1e-6);
  write_png(folder.path() / "again.png", read);
  CHECK(at::equal(read_png(folder.path() / "again.png"), read));
}

TEST_CASE("a file that is no PNG, or only a part of one, is refused with its name", "[png]") {
  const TemporaryFolder folder;
  const auto file = folder.path() / "image.png";
  CHECK_THROWS_AS(read_png(file), LoadError);
  const std::string bytes = encode_png(at::rand({3, 40, 40}));
  for (const std::size_t size : {std::size_t{0}, std::size_t{20}, bytes.size() / 2}) {
    std::ofstream(file, std::ios::binary) << bytes.substr(0, size);
    CHECK_THROWS_WITH(read_png(file), Catch::Contains("image.png: "));
  }
}

}  // namespace
