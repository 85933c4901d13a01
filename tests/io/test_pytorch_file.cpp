#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/pytorch_builder.hpp"
#include "reno/io/pytorch_file.hpp"
#include "reno/io/safetensors.hpp"

using Catch::Matchers::Contains;
using namespace reno;
using namespace reno::test::pytorch;
namespace fs = std::filesystem;

namespace {

const fs::path containers_a = RENO_TEST_DATA "/pytorch";
const fs::path goldens = RENO_SOURCE_DIR "/../shared/goldens";

bool same(const at::Tensor& left, const at::Tensor& right) {
  return left.scalar_type() == right.scalar_type() && left.sizes() == right.sizes() && at::equal(left, right);
}

/// Every tensor of `expected` is in `source` with the same dtype, shape and values, and no other is.
void check_equal(const TensorSource& source, const TensorSource& expected, const std::string& prefix = "") {
  CHECK(source.names().size() == expected.names().size());
  for (const std::string& full_name : expected.names()) {
    REQUIRE(full_name.starts_with(prefix));
    const std::string name = full_name.substr(prefix.size());
    INFO(source.description() << " " << name);
    const TensorInfo* info = source.find(name);
    REQUIRE(info);
    CHECK(info->dtype == expected.find(full_name)->dtype);
    CHECK(info->shape == expected.find(full_name)->shape);
    CHECK(same(source.read(name), expected.read(full_name)));
  }
}

std::vector<fs::path> container_folders() {
  std::vector<fs::path> folders{containers_a};
  for (const char* preset : {"a", "b"}) folders.push_back(goldens / preset / "rewards/containers");
  return folders;
}

/// A file whose only tensor is `t`, in a storage of the numbers 0, 1, 2, … as float32.
std::string file_with(const std::string& tensor, std::int64_t storage_size) {
  std::string bytes;
  for (std::int64_t i = 0; i < storage_size; ++i) bytes += little(static_cast<float>(i));
  return pytorch_zip(dict({text("t"), tensor}), {{"0", bytes}});
}

std::string error_of(const std::string& bytes, const PytorchFileOptions& options = {}) {
  const TemporaryFile file(bytes);
  return load_error([&] { open_pytorch_file(file.path(), options); });
}

}  // namespace

TEST_CASE("pytorch: every container has the tensors of the golden file") {
  for (const fs::path& folder : container_folders()) {
    if (!fs::exists(folder)) {
      WARN("skipped, absent: " << folder);
      continue;
    }
    int files = 0;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() != ".pt") continue;
      const bool module = entry.path().filename().string().starts_with("module");
      const SafetensorsFile expected(folder / (module ? "module.safetensors" : "golden.safetensors"));
      check_equal(*open_pytorch_file(entry.path()), expected, module ? "module." : "");
      ++files;
    }
    CHECK(files == 11);
  }
}

TEST_CASE("pytorch: the golden checkpoints equal their safetensors twins") {
  int pairs = 0;
  for (const char* model :
       {"a/rewards/clip", "a/rewards/pickscore", "b/rewards/clip", "b/rewards/pickscore"}) {
    const fs::path folder = goldens / model;
    if (!fs::exists(folder)) {
      WARN("skipped, absent: " << folder);
      continue;
    }
    const auto source = open_pytorch_file(folder / "pytorch_model.bin");
    const SafetensorsFile expected(folder / "model.safetensors");
    std::size_t buffers = 0;  // transformers keeps the position ids out of newer files
    for (const std::string& name : source->names()) buffers += !expected.find(name);
    for (const std::string& name : expected.names()) {
      INFO(folder << " " << name);
      REQUIRE(source->find(name));
      CHECK(same(source->read(name), expected.read(name)));
    }
    for (const std::string& name : source->names()) {
      if (!expected.find(name)) CHECK_THAT(name, Catch::Matchers::EndsWith("position_ids"));
    }
    CHECK(source->names().size() == expected.names().size() + buffers);
    ++pairs;
  }
  if (fs::exists(goldens)) CHECK(pairs == 4);
}

TEST_CASE("pytorch: checkpoints of the reward models open") {
  struct Case {
    const char* file;
    const char* root;
    const char* tensor;
  };
  for (const char* preset : {"a", "b"}) {
    for (const Case& c : {Case{"hpsv2/HPS_v2.1_compressed.pt", "state_dict", "visual.proj"},
                          Case{"imagereward/ImageReward.pt", "", "mlp.layers.0.weight"},
                          Case{"aesthetic/aesthetic-model.pth", "", "layers.0.weight"},
                          Case{"aesthetic/ViT-L-14.state_dict.pt", "", "visual.proj"}}) {
      const fs::path path = goldens / preset / "rewards" / c.file;
      if (!fs::exists(path)) {
        WARN("skipped, absent: " << path);
        continue;
      }
      const auto source = open_pytorch_file(path);
      INFO(source->description());
      CHECK(source->description().ends_with(*c.root ? "(" + std::string(c.root) + ")" : path.string()));
      REQUIRE(source->find(c.tensor));
      for (const std::string& name : source->names()) {
        const at::Tensor tensor = source->read(name);
        CHECK(at::isfinite(tensor).all().item<bool>());
      }
    }
  }
}

TEST_CASE("pytorch: views share the storage in the file, and outlive the source") {
  at::Tensor head, tail, transposed;
  {
    const auto source = open_pytorch_file(containers_a / "flat_zip.pt");
    head = source->read("shared_head");
    tail = source->read("shared_tail");
    transposed = source->read("transposed");
    CHECK(source->read("plain").const_data_ptr() == source->read("tied").const_data_ptr());
  }
  CHECK(tail.const_data_ptr<float>() == head.const_data_ptr<float>() + 12);
  CHECK(tail.strides() == at::IntArrayRef{2});
  CHECK(transposed.strides() == at::IntArrayRef{1, 10});
  CHECK(at::isfinite(tail).all().item<bool>());
}

TEST_CASE("pytorch: data that is not aligned is copied") {
  for (std::size_t padding = 0; padding < 8; ++padding) {
    std::string bytes;
    for (int i = 0; i < 6; ++i) bytes += little(static_cast<float>(i));
    const TemporaryFile file(
        zip({{"r/data.pkl", pickle(dict({text("t"), tensor({.size = 6}, 1, {2, 2}, {1, 3})}))},
             {.name = "r/data/0", .data = bytes, .local_extra = std::string(padding, 'Z')}}));
    const at::Tensor read = open_pytorch_file(file.path())->read("t");
    CHECK(at::equal(read, at::tensor({1.0F, 4.0F, 2.0F, 5.0F}).view({2, 2})));
    CHECK(reinterpret_cast<std::uintptr_t>(read.const_data_ptr()) % sizeof(float) == 0);
  }
}

TEST_CASE("pytorch: a bool is 0 or 1 whatever its byte") {
  const std::string bytes = "\x00\x01\x02\xff"s;
  const TemporaryFile file(pytorch_zip(
      dict({text("t"), tensor({.type = "BoolStorage", .size = 4}, 0, {2, 2}, {1, 2})}), {{"0", bytes}}));
  const at::Tensor read = open_pytorch_file(file.path())->read("t");
  CHECK(at::equal(read, at::tensor({0, 1, 1, 1}).view({2, 2}).to(at::kBool)));
}

TEST_CASE("pytorch: all element types") {
  const std::map<std::string, at::ScalarType> types{{"DoubleStorage", at::kDouble},
                                                    {"FloatStorage", at::kFloat},
                                                    {"HalfStorage", at::kHalf},
                                                    {"LongStorage", at::kLong},
                                                    {"IntStorage", at::kInt},
                                                    {"ShortStorage", at::kShort},
                                                    {"CharStorage", at::kChar},
                                                    {"ByteStorage", at::kByte},
                                                    {"BoolStorage", at::kBool},
                                                    {"BFloat16Storage", at::kBFloat16},
                                                    {"ComplexFloatStorage", at::kComplexFloat},
                                                    {"ComplexDoubleStorage", at::kComplexDouble},
                                                    {"UntypedStorage", at::kByte}};
  for (const auto& [name, dtype] : types) {
    const std::string body = dict({text("t"), tensor({.type = name, .size = 3}, 0, {3}, {1})});
    const TemporaryFile file(pytorch_zip(body, {{"0", std::string(3 * c10::elementSize(dtype), 0)}}));
    const auto source = open_pytorch_file(file.path());
    CHECK(source->find("t")->dtype == dtype);
    CHECK(same(source->read("t"), at::zeros({3}, dtype)));
  }
  CHECK_THAT(
      error_of(pytorch_zip(dict({text("t"), tensor({.type = "QInt8Storage", .size = 3}, 0, {3}, {1})}))),
      Contains("torch.QInt8Storage"));
}

TEST_CASE("pytorch: the weights may lie in a nested dictionary") {
  const std::string one = tensor({.size = 1}, 0, {1}, {1});
  const auto names = [&](const std::string& body, const PytorchFileOptions& options = {}) {
    const TemporaryFile file(pytorch_zip(body, {{"0", little(1.0F)}}));
    return open_pytorch_file(file.path(), options)->names();
  };
  using Names = std::vector<std::string>;
  const std::string optimizer = dict(
      {text("state"), dict({number(0), dict({text("step"), one})}), text("groups"), list({one, number(3)})});
  const std::string checkpoint = dict(
      {text("epoch"), number(3), text("state_dict"), dict({text("a.b"), one}), text("optimizer"), optimizer});
  CHECK(names(checkpoint) == Names{"a.b"});
  CHECK(names(checkpoint, {.root = "optimizer"}) == Names{"state.0.step", "groups.0"});
  CHECK(names(checkpoint, {.root = "optimizer.state"}) == Names{"0.step"});
  CHECK(names(checkpoint, {.root = ""}) ==
        Names{"state_dict.a.b", "optimizer.state.0.step", "optimizer.groups.0"});
  CHECK(names(dict({text("model"), dict({text("a"), one})})) == Names{"a"});
  CHECK(names(dict({text("module"), dict({text("a"), one})})) == Names{"a"});
  CHECK(names(dict({text("model"), dict({text("a"), one}), text("state_dict"), dict({text("b"), one})})) ==
        Names{"b"});
  CHECK(names(dict({text("model"), one})) == Names{"model"});  // a tensor of that name is no dictionary
  CHECK(names(dict({text("x"), dict({text("a"), one})})) == Names{"x.a"});
  CHECK(names(dict({text("a.b"), dict({text("c.d"), dict({text("e"), one})})}), {.root = "a.b.c.d"}) ==
        Names{"e"});
  CHECK_THAT(
      error_of(pytorch_zip(checkpoint, {{"0", little(1.0F)}}), {.root = "ema"}),
      Contains("has no dictionary \"ema\"; its top level has \"epoch\", \"state_dict\", \"optimizer\""));
}

TEST_CASE("pytorch: legacy files with views of storages") {
  std::string bytes;
  for (int i = 0; i < 6; ++i) bytes += little(static_cast<float>(i));
  const auto body = [&](std::int64_t view_offset, std::int64_t view_size) {
    const std::string view = tuple({text("99"), number(view_offset), number(view_size)});
    return dict({text("all"), tensor({.size = 6, .legacy_view = "N"}, 0, {6}, {1}), text("part"),
                 tensor({.size = 6, .legacy_view = view}, 1, {2}, {1})});
  };
  const auto file_of = [&](const std::string& body) {
    return pytorch_legacy(body, list({text("0")}), {{6, bytes}});
  };
  const TemporaryFile file(file_of(body(2, 3)));
  const auto source = open_pytorch_file(file.path());
  CHECK(at::equal(source->read("part"), at::tensor({3.0F, 4.0F})));
  CHECK(at::equal(source->read("all"), at::arange(6, at::kFloat)));
  CHECK_THAT(error_of(file_of(body(2, 2))), Contains("reaches to element 2 of a storage of 2"));
  CHECK_THAT(error_of(file_of(body(2, 5))), Contains("a storage view leaves its storage"));
  CHECK_THAT(error_of(file_of(body(-1, 3))), Contains("offset is negative"));
  CHECK_THAT(error_of(file_of(body(INT64_MAX, INT64_MAX))), Contains("a storage view leaves its storage"));
}

TEST_CASE("pytorch: legacy files that lie about their storages are refused") {
  const std::string body = dict({text("t"), tensor({.size = 2, .legacy_view = "N"}, 0, {2}, {1})});
  const std::string keys = list({text("0")});
  const std::string bytes(8, 0);
  CHECK_NOTHROW(open_pytorch_file(TemporaryFile(pytorch_legacy(body, keys, {{2, bytes}})).path()));
  CHECK_THAT(error_of(pytorch_legacy(body, keys, {{3, bytes}})), Contains("has 3 elements instead of 2"));
  CHECK_THAT(error_of(pytorch_legacy(body, keys, {{2, "1234567"}})), Contains("\"0\" is cut short"));
  CHECK_THAT(error_of(pytorch_legacy(body, list({}), {})), Contains("list of storages is incomplete"));
  CHECK_THAT(error_of(pytorch_legacy(body, list({text("0"), text("0")}), {{2, bytes}, {2, bytes}})),
             Contains("list of storages is damaged"));
  CHECK_THAT(error_of(pytorch_legacy(body, list({text("1")}), {{2, bytes}})),
             Contains("nothing tells the type"));
  CHECK_THAT(error_of(pytorch_legacy(body, keys, {{2, bytes}}, false)), Contains("byte order is big"));
}

TEST_CASE("pytorch: no view leaves its storage") {
  constexpr std::int64_t huge = std::int64_t{1} << 62;
  const auto message = [](std::int64_t offset, const std::vector<std::int64_t>& shape,
                          const std::vector<std::int64_t>& strides) {
    return error_of(file_with(tensor({.size = 6}, offset, shape, strides), 6));
  };
  CHECK_THAT(message(0, {7}, {1}), Contains("byte ") && Contains("reaches to element 6 of a storage of 6"));
  CHECK_THAT(message(6, {1}, {1}), Contains("reaches to element 6"));
  CHECK_THAT(message(0, {2, 3}, {3, 2}), Contains("reaches to element 7"));
  CHECK_THAT(message(6, {}, {}), Contains("reaches to element 6"));
  CHECK_THAT(message(-1, {1}, {1}), Contains("offset is negative"));
  CHECK_THAT(message(0, {-1}, {1}), Contains("shape is negative"));
  CHECK_THAT(message(0, {2}, {-1}), Contains("strides is negative"));
  CHECK_THAT(message(INT64_MAX, {2}, {1}), Contains("overflows"));
  CHECK_THAT(message(0, {huge, huge}, {0, 0}), Contains("overflows"));
  CHECK_THAT(message(0, {3, huge}, {huge, 1}), Contains("overflows"));
  CHECK_THAT(message(0, {0, huge, huge}, {1, 1, 1}), Contains("overflows"));
  CHECK_THAT(message(0, {huge}, {0}), Contains("repeats its storage too often"));
  CHECK_THAT(message(0, {2, 2}, {1}), Contains("differ in length"));
  CHECK_THAT(message(0, std::vector<std::int64_t>(65, 1), std::vector<std::int64_t>(65, 1)),
             Contains("too many dimensions"));
  // At the edge.
  const auto read = [](std::int64_t offset, const std::vector<std::int64_t>& shape,
                       const std::vector<std::int64_t>& strides) {
    const TemporaryFile file(file_with(tensor({.size = 6}, offset, shape, strides), 6));
    return open_pytorch_file(file.path())->read("t");
  };
  CHECK(at::equal(read(0, {3, 2}, {2, 1}), at::arange(6, at::kFloat).view({3, 2})));
  CHECK(read(5, {}, {}).item<float>() == 5);
  CHECK(at::equal(read(2, {2, 2}, {0, 3}), at::tensor({2.0F, 5.0F, 2.0F, 5.0F}).view({2, 2})));
  CHECK(read(6, {0, 3}, {3, 1}).sizes() == at::IntArrayRef{0, 3});
  CHECK(read(0, {1, 0, huge}, {1, 1, 1}).numel() == 0);
}

TEST_CASE("pytorch: what does not describe a tensor is refused") {
  const std::string storage_of_6 = storage({.size = 6});
  const auto message = [](const std::string& value) { return error_of(file_with(value, 6)); };
  const std::string function = global("torch._utils", "_rebuild_tensor_v2");
  const std::string parameter = global("torch._utils", "_rebuild_parameter");
  const std::string good = tensor({.size = 6}, 0, {6}, {1});
  CHECK_THAT(message(call(function, ")")), Contains("6 or 7 fields"));
  CHECK_THAT(message(call(function, tuple({"N", number(0), numbers({6}), numbers({1}), "\x89", "}"}))),
             Contains("storage has the wrong type"));
  CHECK_THAT(message(call(function, tuple({storage_of_6, "N", numbers({6}), numbers({1}), "\x89", "}"}))),
             Contains("offset has the wrong type"));
  CHECK_THAT(message(call(function, tuple({storage_of_6, number(0), "]", numbers({1}), "\x89", "}"}))),
             Contains("shape has the wrong type"));
  CHECK_THAT(message(call(parameter, tuple({call(parameter, tuple({good, "\x88", "}"})), "\x88", "}"}))),
             Contains("6 or 7 fields"));
  CHECK_THAT(message(call(parameter, tuple({good, "\x88"}))), Contains("3 fields"));
  CHECK_THAT(message(tensor({.size = 6}, 0, {6}, {1}, dict({text("conj"), "\x88"}))), Contains("metadata"));
  CHECK_NOTHROW(open_pytorch_file(TemporaryFile(file_with(tensor({.size = 6}, 0, {6}, {1}, "N"), 6)).path()));
  CHECK_THAT(message(tensor({.type = "DtypeStorage", .size = 6}, 0, {6}, {1})),
             Contains("torch.DtypeStorage"));
  CHECK_THAT(message(tensor({.size = 5}, 0, {5}, {1})), Contains("\"0\" has 24 bytes instead of 20"));
  CHECK_THAT(message(tensor({.size = INT64_MAX}, 0, {5}, {1})), Contains("overflows"));
  CHECK_THAT(message(tensor({.key = "../0", .size = 6}, 0, {6}, {1})), Contains("\"../0\" is missing"));
  CHECK_THAT(error_of(pytorch_zip(
                 dict({text("t"), good, text("u"), tensor({.type = "IntStorage", .size = 6}, 0, {6}, {1})}),
                 {{"0", std::string(24, 0)}})),
             Contains("described in two ways"));
  CHECK_THAT(message("\x88"), Contains("holds no tensors"));
}

TEST_CASE("pytorch: names are checked") {
  const std::string one = tensor({.size = 1}, 0, {1}, {1});
  const auto message = [&](const std::string& body) {
    return error_of(pytorch_zip(body, {{"0", little(1.0F)}}));
  };
  CHECK_THAT(message(dict({text("a"), one, text("a"), one})), Contains("two tensors named \"a\""));
  CHECK_THAT(message(dict({text("a.b"), one, text("a"), dict({text("b"), one})})),
             Contains("two tensors named \"a.b\""));
  CHECK_THAT(message(dict({text("a\x1b[2J"), one})), Contains("not printable") && Contains("\\u001b"));
  CHECK_THAT(message(dict({text("\xff"), one})), Contains("not printable"));
  CHECK_THAT(message(dict({"N", one})), Contains("neither a string nor an integer"));
  CHECK_THAT(message(dict({text(std::string(600, 'a')), one})), Contains("is too long"));
  const TemporaryFile file(pytorch_zip(dict({text("größe"), one}), {{"0", little(1.0F)}}));
  CHECK(open_pytorch_file(file.path())->names().front() == "größe");
}

TEST_CASE("pytorch: hostile nesting meets a limit") {
  const std::string one = tensor({.size = 1}, 0, {1}, {1});
  const auto message = [&](const std::string& body) {
    return error_of(pytorch_zip(body, {{"0", little(1.0F)}}));
  };
  CHECK_THAT(message("}q\x01(" + text("a") + "h\x01u"),
             Contains("nested more than 64 deep"));  // contains itself
  std::string deep = "}" + std::string(100'000, '\x85');
  CHECK_THAT(message(dict({text("a"), deep})), Contains("nested more than 64 deep"));
  // Fifty dictionaries, each holding the one before twice: 2^50 names in two kilobytes.
  std::string laughs = one + "q\x01";
  for (int i = 2; i < 52; ++i) {
    const std::string before = "h" + std::string(1, static_cast<char>(i - 1));
    laughs += "}(" + text("a") + before + text("b") + before + "uq" + std::string(1, static_cast<char>(i));
  }
  // The dictionaries before the last stay on the stack; a tuple takes them all.
  CHECK_THAT(message(dict({text("x"), tuple({laughs})})), Contains("more than 65536 tensors"));
  std::string empty_laughs = "}q\x01";
  for (int i = 2; i < 52; ++i) {
    const std::string before = "h" + std::string(1, static_cast<char>(i - 1));
    empty_laughs +=
        "}(" + text("a") + before + text("b") + before + "uq" + std::string(1, static_cast<char>(i));
  }
  CHECK_THAT(message(dict({text("x"), tuple({empty_laughs})})), Contains("too many entries"));
}

TEST_CASE("pytorch: files that are something else are told apart") {
  CHECK_THAT(error_of("not a pickle at all"), Contains("is not a PyTorch file"));
  CHECK_THAT(error_of("version https://git-lfs.github.com/spec/v1\noid sha256:00\n"),
             Contains("Git LFS pointer"));
  CHECK_THAT(error_of(pickle(dict({}))), Contains("is not a PyTorch file"));
  CHECK_THAT(error_of(zip({{"a/b", "c"}})), Contains("has no data.pkl"));
  CHECK_THAT(error_of(zip({{"a/data.pkl", pickle("}")}, {"b/data.pkl", pickle("}")}})),
             Contains("more than one data.pkl"));
  CHECK_THAT(error_of(pytorch_zip("]")), Contains("top level is not a dictionary"));
  CHECK_THAT(error_of(pytorch_zip("}")), Contains("holds no tensors"));
  CHECK_THAT(error_of(pytorch_zip("}", {}, {{"archive/byteorder", "big"}})),
             Contains("byte order is \"big\""));
  CHECK_THAT(error_of(zip({{.name = "a/data.pkl", .data = pickle("}"), .method = 8}})),
             Contains("\"a/data.pkl\" is compressed"));
  CHECK_THAT(error_of(pytorch_zip(dict({text("a"), call(global("posix", "system"), tuple({text("id")}))}))),
             Contains("byte 10 of \"archive/data.pkl\"") && Contains("\"posix.system\""));
  CHECK_THAT(load_error([] { open_pytorch_file("/nonexistent/x.pt"); }), Contains("/nonexistent/x.pt"));
  const auto source = open_pytorch_file(containers_a / "flat_zip.pt");
  CHECK(source->find("missing") == nullptr);
  CHECK_THAT(load_error([&] { source->read("missing"); }),
             Contains("flat_zip.pt: has no tensor \"missing\""));
}

namespace {

/// An archive of torch.jit.save: the pickle's object, a program that nobody reads, and storages.
std::string torchscript(const std::string& body, const StorageBytes& storages = {}) {
  return pytorch_zip(body, storages,
                     {{"archive/code/m.py", "\xff", 8}, {"archive/constants.pkl", "damaged"}});
}

/// What torch.jit.save writes for an object.
std::string object(const std::string& type, const std::vector<std::string>& attributes) {
  return global("__torch__.clip.model", type) + ")\x81" + dict(attributes) + "b";
}

}  // namespace

TEST_CASE("pytorch: the weights of a TorchScript archive are read, and its program is not") {
  const std::string floats(8, '\0');
  const auto weight = tensor({.key = "0", .size = 2}, 0, {2}, {1});
  const TemporaryFile file(torchscript(
      object("CLIP",
             {text("model"), object("Linear", {text("weight"), weight, text("training"), "\x88"}),
              text("sizes"), call(global("torch.jit._pickle", "build_intlist"), tuple({list({number(1)})})),
              text("scale"), weight}),
      {{"0", floats}}));
  CHECK(open_pytorch_file(file.path())->names() == std::vector<std::string>{"model.weight", "scale"});

  // Only such an archive may have objects, and they are made of nothing but attributes.
  const auto simple = object("Linear", {text("weight"), weight});
  CHECK_THAT(error_of(pytorch_zip(simple, {{"0", floats}})), Contains("\"__torch__.clip.model.Linear\""));
  const auto refused = [&](const std::string& body) { return error_of(torchscript(body, {{"0", floats}})); };
  CHECK_THAT(refused(call(global("__torch__", "Linear"), ")")), Contains("calls __torch__.Linear"));
  CHECK_THAT(refused(global("__torch__", "Linear") + "(K\x01t\x81"), Contains("that it may not make"));
  CHECK_THAT(refused(global("collections", "OrderedDict") + ")\x81"), Contains("that it may not make"));
  CHECK_THAT(refused(object("Linear", {}) + "K\x01" + "b"), Contains("BUILD is allowed only"));
  CHECK_THAT(refused(global("os", "system") + ")\x81"), Contains("\"os.system\""));
}

TEST_CASE("pytorch: OpenAI's archive of CLIP has the tensors of its state dict") {
  for (const char* preset : {"a", "b"}) {
    const fs::path folder = goldens / preset / "rewards/aesthetic";
    if (!fs::exists(folder / "ViT-L-14.state_dict.pt")) {
      WARN("skipped, absent: " << folder / "ViT-L-14.state_dict.pt");
      continue;
    }
    const auto archive = open_pytorch_file(folder / "ViT-L-14.pt");
    const auto state_dict = open_pytorch_file(folder / "ViT-L-14.state_dict.pt");
    for (const auto& name : state_dict->names()) {
      INFO(preset << " " << name);
      REQUIRE(archive->find(name) != nullptr);
      CHECK(archive->find(name)->dtype == state_dict->find(name)->dtype);
      CHECK(at::equal(archive->read(name), state_dict->read(name)));
    }
  }
}

TEST_CASE("pytorch: a file of more than 4 GiB") {
  // A storage that is a hole in a sparse file, and one behind it.
  constexpr std::uint64_t hole = (std::uint64_t{1} << 32) + 4096;
  constexpr std::int64_t hole_size = static_cast<std::int64_t>(hole / sizeof(float));
  const std::string body =
      dict({text("hole"), tensor({.key = "0", .size = hole_size}, hole_size - 1, {1}, {1}), text("behind"),
            tensor({.key = "1", .size = 2}, 0, {2}, {1})});
  const ZipMember index{.name = "m/data.pkl", .data = pickle(body)};
  const ZipMember first{.name = "m/data/0", .flags = 8, .claimed_size = hole};
  const ZipMember second{.name = "m/data/1", .data = little(1.5F) + little(2.5F)};
  const std::string before = local_header(index) + index.data + local_header(first);
  const std::uint64_t second_at = before.size() + hole;
  const std::string directory = central_header(index, 0, true) +
                                central_header(first, local_header(index).size() + index.data.size(), true) +
                                central_header(second, second_at, true);
  const std::string after_second = local_header(second) + second.data;
  const std::uint64_t directory_at = second_at + after_second.size();
  const std::string after =
      after_second + directory +
      zip_end(directory_at, directory.size(), 3, directory_at + directory.size(), {.zip64 = true});
  const TemporaryFile file(before);
  {
    std::ofstream stream(file.path(), std::ios::binary | std::ios::in);
    stream.seekp(static_cast<std::streamoff>(second_at));
    stream << after;
    REQUIRE(stream);
  }
  const auto source = open_pytorch_file(file.path());
  CHECK(at::equal(source->read("behind"), at::tensor({1.5F, 2.5F})));
  CHECK(source->read("hole").item<float>() == 0);
}
