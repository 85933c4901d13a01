#include <catch2/catch.hpp>
#include <string>

#include "io/pytorch_builder.hpp"
#include "reno/io/zip_archive.hpp"

using Catch::Matchers::Contains;
using reno::ZipArchive;
using namespace reno::test::pytorch;

namespace {

std::string error_of(const std::string& bytes) {
  return load_error([&] { ZipArchive(bytes, "x.pt"); });
}

}  // namespace

TEST_CASE("zip: members are found through the central directory and the local header") {
  const bool zip64 = GENERATE(false, true);
  const std::string bytes = zip({{.name = "r/a", .data = "first"},
                                 {.name = "r/b", .data = "second", .local_extra = std::string(50, 'Z')},
                                 {.name = "r/empty"},
                                 {.name = "../../etc/passwd", .data = "only a name"}},
                                {.zip64 = zip64, .comment = "a comment"});
  const ZipArchive archive(bytes, "x.pt");
  CHECK(archive.entries().size() == 4);
  CHECK(archive.stored(*archive.find("r/a")) == "first");
  CHECK(archive.stored(*archive.find("r/b")) == "second");
  CHECK(archive.stored(*archive.find("r/empty")).empty());
  CHECK(archive.stored(*archive.find("../../etc/passwd")) == "only a name");
  CHECK(archive.find("r/c") == nullptr);
  CHECK(archive.stored(*archive.find("r/b")).data() == bytes.data() + bytes.find("second"));
}

TEST_CASE("zip: sizes may follow the data") {
  const std::string bytes = zip({{.name = "a", .data = "data", .flags = 8, .claimed_local_size = 0}});
  const ZipArchive archive(bytes, "x.pt");
  CHECK(archive.stored(*archive.find("a")) == "data");
}

TEST_CASE("zip: compressed and encrypted members are refused when they are needed, not before") {
  const std::string bytes =
      zip({{.name = "a", .data = "data", .method = 8}, {.name = "b", .data = "data", .flags = 1}});
  const ZipArchive archive(bytes, "x.pt");
  CHECK_THAT(load_error([&] { archive.stored(*archive.find("a")); }), Contains("\"a\" is compressed"));
  CHECK_THAT(load_error([&] { archive.stored(*archive.find("b")); }), Contains("\"b\" is encrypted"));
}

TEST_CASE("zip: a file that contradicts itself is refused") {
  CHECK_THAT(error_of("PK\x03\x04"), Contains("x.pt: ") && Contains("no central directory"));
  CHECK_THAT(error_of(zip({{"a", "1"}, {"a", "2"}})), Contains("two members named \"a\""));
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_size = 1000}})),
             Contains("\"a\" lies outside the file"));
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_size = 0xFFFFFFF0}})),
             Contains("outside the file"));
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_local_size = 2}})),
             Contains("contradict each other"));
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_offset = 5}})), Contains("no header where"));
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_offset = 0xFFFFFF}})),
             Contains("outside the file"));
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_local_name = "b"}})),
             Contains("no header where"));
  CHECK_THAT(error_of(zip({{"a", "1"}}, {.claimed_count = 2})), Contains("too short for its members"));
  CHECK_THAT(error_of(zip({{"a", "1"}}, {.claimed_count = 0})), Contains("longer than its members"));
  CHECK_THAT(error_of(zip({{"a", "1"}}, {.claimed_directory_offset = 0xFFFFFF})),
             Contains("outside the file"));
}

TEST_CASE("zip: members may not share bytes") {
  // The first member's data are the second member's header and data, as in bombs that unpack one part many
  // times.
  const ZipMember inner{.name = "b", .data = "inner"};
  const std::string inner_bytes = local_header(inner) + inner.data;
  const ZipMember outer{.name = "a", .data = inner_bytes};
  const std::string start = local_header(outer);
  const std::string directory = central_header(outer, 0, false) + central_header(inner, start.size(), false);
  const std::string file = start + inner_bytes;
  CHECK_THAT(error_of(file + directory + zip_end(file.size(), directory.size(), 2, 0, {})),
             Contains("share the bytes"));
}

TEST_CASE("zip: lies in the zip64 records are refused") {
  constexpr std::uint64_t huge = ~std::uint64_t{0};
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_size = huge}}, {.zip64 = true})),
             Contains("lies outside the file"));
  CHECK_THAT(error_of(zip({{.name = "a", .data = "1", .claimed_offset = huge - 10}}, {.zip64 = true})),
             Contains("lies outside the file"));
  CHECK_THAT(error_of(zip({{"a", "1"}}, {.zip64 = true, .claimed_count = huge})), Contains("too short"));
  CHECK_THAT(error_of(zip({{"a", "1"}}, {.zip64 = true, .claimed_directory_offset = huge})),
             Contains("outside the file"));
  std::string bytes = zip({{"a", "1"}}, {.zip64 = true});
  bytes[bytes.size() - 12] = 2;  // the narrow end record counts two members, the wide one one
  bytes[bytes.size() - 11] = 0;
  CHECK_THAT(error_of(bytes), Contains("end records contradict"));
  bytes = zip({{"a", "1"}}, {.zip64 = true});
  bytes[bytes.rfind("PK\x06\x07") + 8] += 1;  // offset of the zip64 end record
  CHECK_THAT(error_of(bytes), Contains("zip64 end record"));
}
