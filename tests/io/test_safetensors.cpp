#include <ATen/ATen.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <set>
#include <sstream>

#include "reno/io/safetensors.hpp"
#include "support/temporary_folder.hpp"

using reno::LoadError;
using reno::open_safetensors;
using reno::RunError;
using reno::write_safetensors;
using reno::test::message_of;
using reno::test::TemporaryFolder;

namespace {

using Tensors = std::map<std::string, at::Tensor>;

/// Whether an address lies in a mapping of the file, as the kernel tells it.
bool is_mapped_from(const void* address, const std::filesystem::path& path) {
  std::ifstream maps("/proc/self/maps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> begin >> dash >> end;
    if (wanted >= begin && wanted < end) return line.ends_with(path.string());
  }
  return false;
}

bool is_mapped(const std::filesystem::path& path) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);)
    if (line.ends_with(path.string())) return true;
  return false;
}

std::size_t resident_bytes() {
  std::size_t total = 0;
  std::size_t resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

std::string container(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

}  // namespace

TEST_CASE("A file of the reference implementation reads exactly") {
  const auto file = open_safetensors(RENO_TEST_DATA "/io/library.safetensors");
  const auto ramp = at::arange(6).reshape({2, 3});
  const std::map<std::string, at::ScalarType> dtypes{{"float64", at::kDouble},
                                                     {"float32", at::kFloat},
                                                     {"float16", at::kHalf},
                                                     {"bfloat16", at::kBFloat16},
                                                     {"float8_e4m3fn", at::kFloat8_e4m3fn},
                                                     {"float8_e5m2", at::kFloat8_e5m2},
                                                     {"int64", at::kLong},
                                                     {"int32", at::kInt},
                                                     {"int16", at::kShort},
                                                     {"int8", at::kChar},
                                                     {"uint8", at::kByte},
                                                     {"bool", at::kBool}};
  for (const auto& [name, dtype] : dtypes) {
    CAPTURE(name);
    const auto tensor = file->read("ramp." + name);
    CHECK(tensor.scalar_type() == dtype);
    CHECK(at::equal(tensor.to(at::kDouble), ramp.to(dtype).to(at::kDouble)));
  }
  CHECK(file->read("scalar").dim() == 0);
  CHECK(file->read("scalar").item<float>() == 2.5F);
  CHECK(file->read("empty").sizes() == at::IntArrayRef{0, 4});
  CHECK(at::equal(file->read("größe"), at::tensor({1.0, -2.0}).to(at::kHalf)));
  CHECK(file->names().size() == dtypes.size() + 3);
  CHECK(file->metadata().at("format") == "pt");
  CHECK(file->find("missing") == nullptr);
  CHECK(file->find("ramp.int16")->shape == std::vector<std::int64_t>{2, 3});
  CHECK(file->find("ramp.int16")->file == RENO_TEST_DATA "/io/library.safetensors");
  CHECK(message_of<LoadError>([&] { file->read("missing"); }) == RENO_TEST_DATA
        "/io/library.safetensors: has no tensor \"missing\"");
}

TEST_CASE("What is written is read back bit for bit, from any strides") {
  const TemporaryFolder folder;
  const auto path = folder / "a.safetensors";
  at::manual_seed(0);
  const Tensors tensors{{"plain", at::randn({3, 5})},
                        {"transposed", at::randn({4, 6}).t()},
                        {"slice", at::randn({10}).slice(0, 1, 10, 3)},
                        {"scalar", at::scalar_tensor(3, at::kLong)},
                        {"empty", at::empty({2, 0, 3}, at::kDouble)},
                        {"half", at::randn({7}).to(at::kHalf)},
                        {"odd", at::arange(3).to(at::kByte)},
                        {"mask", at::randn({5}) > 0},
                        {"nan", at::full({2}, std::nan(""))},
                        {"needs \"gradient\"", at::randn({2}).requires_grad_()}};
  write_safetensors(path, tensors, {{"format", "pt"}, {"step", "12"}});
  const auto file = open_safetensors(path);
  CHECK(file->metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}});
  CHECK(file->names().size() == tensors.size());
  for (const auto& [name, expected] : tensors) {
    CAPTURE(name);
    const auto tensor = file->read(name);
    CHECK(tensor.scalar_type() == expected.scalar_type());
    CHECK(tensor.sizes() == expected.sizes());
    CHECK_FALSE(tensor.requires_grad());
    CHECK(at::allclose(tensor.to(at::kDouble), expected.detach().to(at::kDouble), 0, 0, true));
    const auto address = reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
    CHECK(address % tensor.dtype().itemsize() == 0);
  }
}

TEST_CASE("Equal content gives equal files") {
  const TemporaryFolder folder;
  const Tensors tensors{{"b", at::ones({2})}, {"a", at::zeros({3})}, {"c", at::ones({1}, at::kByte)}};
  write_safetensors(folder / "a", tensors);
  write_safetensors(folder / "b", tensors);
  CHECK(reno::test::read_file(folder / "a") == reno::test::read_file(folder / "b"));
  CHECK(open_safetensors(folder / "a")->names() == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("A file without tensors is a file") {
  const TemporaryFolder folder;
  write_safetensors(folder / "a", {});
  CHECK(open_safetensors(folder / "a")->names().empty());
}

TEST_CASE("What the format cannot hold is not written") {
  const TemporaryFolder folder;
  const auto path = (folder / "a.safetensors").string();
  const auto failure = [&](const Tensors& tensors) {
    return message_of<RunError>([&] { write_safetensors(path, tensors); });
  };
  CHECK(failure({{"__metadata__", at::ones({1})}}) ==
        path + ": the name __metadata__ is reserved, no tensor can have it");
  CHECK(failure({{"a", at::Tensor()}}) == path + ": tensor \"a\" is undefined");
  CHECK(failure({{"a", at::zeros({1}, at::kComplexDouble)}}) ==
        path + ": tensor \"a\" has dtype ComplexDouble, which safetensors files cannot hold");
  CHECK(failure({{"\xff", at::ones({1})}}) == path + ": a tensor's name or the metadata is not valid UTF-8");
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("Reading is zero-copy: tensors are views of the mapped file") {
  const TemporaryFolder folder;
  const auto path = folder / "a.safetensors";
  write_safetensors(path, {{"w", at::arange(12.0).reshape({3, 4})}, {"empty", at::empty({0})}});
  at::Tensor tensor;
  {
    const auto file = open_safetensors(path);
    tensor = file->read("w");
    CHECK(is_mapped_from(tensor.const_data_ptr(), path));
    CHECK(file->read("w").const_data_ptr() == tensor.const_data_ptr());
  }
  std::filesystem::remove(path);  // the map outlives source and name
  CHECK(at::equal(tensor, at::arange(12.0).reshape({3, 4})));
  const auto view = tensor[1];
  tensor.reset();
  CHECK(view[2].item<double>() == 6);
}

TEST_CASE("The map goes with the last tensor") {
  const TemporaryFolder folder;
  const auto path = folder / "a.safetensors";
  write_safetensors(path, {{"w", at::ones({4})}});
  auto tensor = open_safetensors(path)->read("w");
  CHECK(is_mapped(path));
  tensor.reset();
  CHECK_FALSE(is_mapped(path));
}

TEST_CASE("A large file costs no memory until it is touched") {
  const TemporaryFolder folder;
  constexpr std::size_t bytes = std::size_t{1} << 30;  // sparse on the disk as well
  std::string header = R"({"w":{"dtype":"F32","shape":[16384,16384],"data_offsets":[0,1073741824]}})";
  header.resize(80, ' ');  // aligned
  const auto path = folder.write("a.safetensors", container(header, ""));
  std::filesystem::resize_file(path, std::filesystem::file_size(path) + bytes);
  const auto before = resident_bytes();
  const auto tensor = open_safetensors(path)->read("w");
  CHECK(tensor[5000][5000].item<float>() == 0);
  CHECK(resident_bytes() < before + (16U << 20));
}

TEST_CASE("Misaligned data is copied, aligned data beside it is not") {
  const TemporaryFolder folder;
  std::string header =
      R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}})";
  header.resize(120, ' ');
  const float values[] = {1.5F, -2.0F};
  const auto path =
      folder.write("a", container(header, "\x07" + std::string(reinterpret_cast<const char*>(values), 8)));
  const auto file = open_safetensors(path);
  const auto copied = file->read("b");
  CHECK(reinterpret_cast<std::uintptr_t>(copied.const_data_ptr()) % alignof(float) == 0);
  CHECK_FALSE(is_mapped_from(copied.const_data_ptr(), path));
  CHECK(at::equal(copied, at::tensor({1.5F, -2.0F})));
  CHECK(is_mapped_from(file->read("a").const_data_ptr(), path));
  CHECK(file->read("a").item<int>() == 7);
}

TEST_CASE("Any byte but zero is true in a bool tensor") {
  const TemporaryFolder folder;
  const auto path = folder.write("a", container(R"({"m":{"dtype":"BOOL","shape":[4],"data_offsets":[0,4]}})",
                                                std::string("\0\1\2\xff", 4)));
  const auto mask = open_safetensors(path)->read("m");
  CHECK(mask.scalar_type() == at::kBool);
  for (int i = 0; i < 4; ++i)
    CHECK(static_cast<const unsigned char*>(mask.const_data_ptr())[i] == (i == 0 ? 0 : 1));
}
