#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "reference.hpp"
#include "reno/text/fix_text.hpp"
#include "reno/text/mojibake.hpp"
#include "reno/text/single_byte_encodings.hpp"
#include "reno/text/unescape_html.hpp"

using namespace reno::text;

namespace {
using Table = std::vector<std::pair<std::u32string_view, std::u32string_view>>;

template <typename Function>
void check(Function function, const Table& table) {
  for (const auto& [input, expected] : table) {
    INFO(encode_utf8(input));
    CHECK(encode_utf8(function(input)) == encode_utf8(expected));
  }
}

template <typename Function>
auto in_place(Function function) {
  return [function](std::u32string_view text) {
    std::u32string result(text);
    function(result);
    return result;
  };
}
}  // namespace

TEST_CASE("HTML as the standard reads it") {
  check(unescape_html,
        {{U"&amp; &lt;b&gt; &quot;q&quot; &#39;x&#x27;", U"& <b> \"q\" 'x'"},
         {U"&amp &ampx &notit; &notin; &nosuch; &hellip", U"& &x ¬it; ∉ &nosuch; &hellip"},
         {U"&NotEqualTilde;", U"\u2242\u0338"},
         {U"&#150; &#0; &#xD800; &#1114112; &#99999999999999999999;", U"– \uFFFD \uFFFD \uFFFD \uFFFD"},
         {U"&#7;&#127;&#xFFFE;&#11;|&#10;&#13;", U"|\n\r"},
         {U"&#65 &#x41g &#; &#x; &; & &", U"A Ag &#; &#x; &; & &"},
         {U"&é; &abcdefghijklmnopqrstuvwxyzabcdefghijkl;", U"&é; &abcdefghijklmnopqrstuvwxyzabcdefghijkl;"},
         {U"&amp;amp;", U"&amp;"},
         {U"", U""}});
}

TEST_CASE("HTML as ftfy reads it: complete references only") {
  check(unescape_complete_html,
        {{U"&eacute;&#233;&#xE9;", U"ééé"},
         {U"&amp &hellip", U"&amp &hellip"},
         {U"P&EACUTE;REZ BUNDESSTRA&SZLIG;E &nTILDE;", U"PÉREZ BUNDESSTRASSE &nTILDE;"},
         {U"&NOTIN; &GTCIR; &#59; &#65abc;", U"∉ &GTCIR; &#59; &#65abc;"},
         {U"&CounterClockwiseContourIntegral; &", U"&CounterClockwiseContourIntegral; &"}});
}

TEST_CASE("The single steps of fix_text") {
  check(in_place(fix_latin_ligatures), {{U"ﬁne oﬃce ﬆ ŉ Ǆ æ œ", U"fine office st ʼn DŽ æ œ"}});
  check(in_place(fix_character_width), {{U"ＦＵＬＬ　ｶﾀ ￦ 。", U"FULL カタ ₩ 。"}});
  check(in_place(uncurl_quotes), {{U"“a” ‘b’ ʼ „c‟", U"\"a\" 'b' ' \"c\""}});
  check(in_place(fix_line_breaks), {{U"a\r\nb\rc\u2028d\u2029e\u0085f\r\r\n", U"a\nb\nc\nd\ne\nf\n\n"}});
  check(in_place(remove_terminal_escapes), {{U"\x1B[1;31mred\x1B[0m \x1B[12 \x1B[", U"red \x1B[12 \x1B["}});
  check(in_place(remove_control_characters),
        {{U"a\x07\x1B\x7F\uFEFF\u206A\uFFFCb\t\n\f\r\u200D\u200F", U"ab\t\n\f\r\u200D\u200F"}});
  check(in_place(fix_c1_controls), {{U"\u0080\u0085\u0081", U"€…\u0081"}});
}

TEST_CASE("fix_text") {
  check(fix_text,
        {{U"", U""},
         {U"plain ASCII, nothing to do!", U"plain ASCII, nothing to do!"},
         {U"The Mona Lisa doesnâ€™t have eyebrows, schÃ¶n", U"The Mona Lisa doesn't have eyebrows, schön"},
         {U"âœ” No problems", U"✔ No problems"},
         {U"voilÃ  le travail", U"voilà le travail"},
         {U"&macr;\\_(ã\u0083\u0084)_/&macr;", U"¯\\_(ツ)_/¯"},
         {U"Ã\u0083Â\u00A9", U"é"},                               // misread twice
         {U"&amp;amp; a < b", U"&amp;amp; a < b"},                // a '<' means HTML
         {U"&amp;amp;\n<i>&amp;\n&amp;", U"&\n<i>&amp;\n&amp;"},  // from its line on
         {U"Ángel año Œuvre d'œil 50 € n°5", U"Ángel año Œuvre d'œil 50 € n°5"},
         {U"e\u0301", U"é"},
         {U"à¸\u00A0 \uFFFD", U"ภ \uFFFD"},
         {U"â€œ like this â€\uFFFD", U"\" like this \uFFFD"}});
}

TEST_CASE("Code pages, cleaning and lower case agree with Python and ftfy on made-up texts") {
  const nlohmann::json reference = reno::read_json_object(reno::test::text_data / "cleaning.json");
  const char* names[] = {"latin-1",
                         "sloppy-windows-1252",
                         "sloppy-windows-1251",
                         "sloppy-windows-1250",
                         "sloppy-windows-1253",
                         "sloppy-windows-1254",
                         "sloppy-windows-1257",
                         "iso-8859-2",
                         "macroman",
                         "cp437"};
  for (std::size_t page = 0; page < std::size(names); ++page) {
    INFO(names[page]);
    std::u32string decoded;
    for (unsigned byte = 0; byte < 256; ++byte)
      decoded.push_back(SingleByteEncodings::get().all()[page]->decode(static_cast<std::uint8_t>(byte)));
    CHECK(encode_utf8(decoded) == reference["pages"][names[page]].get<std::string>());
    CHECK(SingleByteEncodings::get().all()[page]->encode(decoded).has_value());
  }
  REQUIRE(reference["rows"].size() > 1000);
  for (const auto& row : reference["rows"]) {
    const std::u32string text = decode_utf8(row[0].get<std::string>());
    INFO(row[0]);
    CHECK(encode_utf8(fix_text(text)) == row[1].get<std::string>());
    CHECK(mojibake::is_mojibake(text) == row[2].get<bool>());
    CHECK(encode_utf8(unescape_html(text)) == row[3].get<std::string>());
    CHECK(encode_utf8(to_lower(text)) == row[4].get<std::string>());
  }
}

TEST_CASE("Text that unwinds without end is refused") {
  std::u32string nested = U"&";
  for (int i = 0; i < 20'000; ++i) nested += U"amp;";
  CHECK_THROWS_WITH(fix_text(nested), Catch::Contains("nested too deeply"));
  CHECK_THROWS_AS(fix_text(U"Ã" + std::u32string(100'000, U'ƒ')), reno::ConfigurationError);
  CHECK(fix_text(U"&amp;amp;amp;amp;amp;") == U"&");
}
