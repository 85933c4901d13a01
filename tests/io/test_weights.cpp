#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/io/safetensors.hpp"
#include "reno/io/weights.hpp"
#include "support/gpu.hpp"
#include "support/temporary_folder.hpp"

using reno::LoadError;
using reno::open_safetensors;
using reno::Weights;
using reno::test::message_of;
using reno::test::TemporaryFolder;

namespace {

using Names = std::vector<std::string>;
using Shape = std::vector<std::int64_t>;

/// A small checkpoint: attn.{to_q,to_k}.weight, attn.to_q.bias, blocks.{0,1}.norm.weight, position_ids.
struct Checkpoint {
  Checkpoint() {
    at::manual_seed(1);
    tensors = {
        {"attn.to_q.weight", at::randn({4, 3})},  {"attn.to_q.bias", at::randn({4})},
        {"attn.to_k.weight", at::randn({4, 3})},  {"blocks.0.norm.weight", at::randn({8})},
        {"blocks.1.norm.weight", at::randn({8})}, {"blocks.10.norm.weight", at::randn({8}).to(at::kHalf)},
        {"position_ids", at::arange(5)}};
    reno::write_safetensors(path, tensors);
  }

  Weights open(at::ScalarType dtype = at::kFloat, at::Device device = at::kCPU) const {
    return Weights(open_safetensors(path), device, dtype);
  }

  TemporaryFolder folder;
  std::filesystem::path path = folder / "w.safetensors";
  std::map<std::string, at::Tensor> tensors;
};

}  // namespace

TEST_CASE("Scopes join names with dots") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open();
  CHECK(w.key("position_ids") == "position_ids");
  CHECK((w / "blocks" / 0 / "norm").key("weight") == "blocks.0.norm.weight");
  CHECK((w / "blocks" / std::size_t{1}).key("") == "blocks.1");
  CHECK((w / std::string("attn.to_q")).key("bias") == "attn.to_q.bias");
  CHECK((w / "blocks" / 10).has("norm.weight"));
  CHECK_FALSE((w / "blocks" / 2).has("norm.weight"));
  CHECK_FALSE(w.has("blocks.0.norm"));
  CHECK(w.has_scope("blocks.0.norm"));
  CHECK(w.has_scope("blocks"));
  CHECK_FALSE(w.has_scope("block"));
  CHECK_FALSE(w.has_scope("blocks.2"));
  CHECK_FALSE(w.has_scope("position_ids"));
  CHECK(w.has_scope(""));
  CHECK((w / "attn").has_scope(""));
  CHECK_FALSE((w / "mlp").has_scope(""));
  CHECK(w.description() == checkpoint.path.string());
}

TEST_CASE("Tensors come by name and shape") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open() / "attn";
  const auto weight = w.get("to_q.weight", {4, 3});
  CHECK(at::equal(weight, checkpoint.tensors.at("attn.to_q.weight")));
  CHECK_FALSE(weight.requires_grad());
  CHECK(at::equal(w.get("to_q.bias"), checkpoint.tensors.at("attn.to_q.bias")));
  CHECK(w.shape("to_q.weight") == Shape{4, 3});
  CHECK(w.dtype() == at::kFloat);
  CHECK(w.device() == at::kCPU);
}

TEST_CASE("A tensor in the right dtype on the CPU is a view of the file, and outlives the scope") {
  const Checkpoint checkpoint;
  const auto source = open_safetensors(checkpoint.path);
  at::Tensor weight;
  {
    const Weights w(source, at::kCPU, at::kFloat);
    weight = w.get("attn.to_q.weight", {4, 3});
    CHECK(weight.const_data_ptr() == source->read("attn.to_q.weight").const_data_ptr());
    CHECK(w.as(at::kDouble).get("attn.to_q.weight").const_data_ptr() != weight.const_data_ptr());
  }
  CHECK(at::equal(weight, checkpoint.tensors.at("attn.to_q.weight")));
}

TEST_CASE("Floating tensors are converted, others keep their dtype") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open(at::kBFloat16);
  const auto& original = checkpoint.tensors.at("attn.to_q.weight");
  CHECK(at::equal(w.get("attn.to_q.weight"), original.to(at::kBFloat16)));
  CHECK(w.get("position_ids").scalar_type() == at::kLong);
  const Weights wide = w.as(at::kDouble);
  CHECK(wide.dtype() == at::kDouble);
  CHECK(at::equal((wide / "attn").get("to_q.weight"), original.to(at::kDouble)));
  CHECK(w.get("attn.to_q.weight").scalar_type() == at::kBFloat16);
}

TEST_CASE("A wrong shape is an error with key, file and both shapes") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open() / "attn";
  CHECK(message_of<LoadError>([&] {
          w.get("to_q.weight", {3, 4});
        }) == checkpoint.path.string() + ": tensor \"attn.to_q.weight\" has shape [4, 3], expected [3, 4]");
  CHECK(message_of<LoadError>([&] {
          w.get("to_q.bias", {4, 1});
        }) == checkpoint.path.string() + ": tensor \"attn.to_q.bias\" has shape [4], expected [4, 1]");
}

TEST_CASE("A missing tensor is an error that shows what is there instead") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open();
  const auto missing = [&](const std::string& name) {
    auto message = message_of<LoadError>([&] { w.get(name); });
    return message.substr(message.find(": ") + 2);
  };
  CHECK(message_of<LoadError>([&] {
          (w / "attn").get("query.weight", {4, 3});
        }) == checkpoint.path.string() +
                  ": has no tensor \"attn.query.weight\", expected one of shape [4, 3]; below \"attn\" it "
                  "has to_k, to_q");
  CHECK(missing("attn.to_k.bias") == "has no tensor \"attn.to_k.bias\"; below \"attn.to_k\" it has weight");
  CHECK(missing("blocks.2.norm.weight") ==
        "has no tensor \"blocks.2.norm.weight\"; below \"blocks\" it has 0, 1, 10");
  CHECK(missing("unet.x") == "has no tensor \"unet.x\"; at its top it has attn, blocks, position_ids");
  CHECK(missing(".") == "has no tensor \".\"; at its top it has attn, blocks, position_ids");
  CHECK(missing("") == "has no tensor \"\"; at its top it has attn, blocks, position_ids");

  std::map<std::string, at::Tensor> many;
  for (int i = 10; i < 40; ++i) many["layer." + std::to_string(i)] = at::ones({1});
  reno::write_safetensors(checkpoint.folder / "many", many);
  const Weights wide(open_safetensors(checkpoint.folder / "many"), at::kCPU, at::kFloat);
  CHECK(message_of<LoadError>([&] {
          wide.get("layer.9");
        }).ends_with("it has 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, …"));
  reno::write_safetensors(checkpoint.folder / "none", {});
  const Weights none(open_safetensors(checkpoint.folder / "none"), at::kCPU, at::kFloat);
  CHECK(message_of<LoadError>([&] { none.get("a"); }).ends_with("has no tensor \"a\"; it has no tensors"));
}

TEST_CASE("What was never asked for is reported") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open();
  w.get("position_ids");
  (w / "attn" / "to_q").get("weight", {4, 3});
  (w / "blocks" / 1).as(at::kHalf).get("norm.weight");
  static_cast<void>(w.has("attn.to_k.weight"));
  CHECK(w.unused() ==
        Names{"attn.to_k.weight", "attn.to_q.bias", "blocks.0.norm.weight", "blocks.10.norm.weight"});
  CHECK((w / "attn").unused() == Names{"attn.to_k.weight", "attn.to_q.bias"});
  CHECK((w / "blocks" / 1).unused().empty());
}

TEST_CASE("Renaming maps what a network asks for to what an older checkpoint has") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open().renamed([](std::string name) {
    if (const auto at = name.find("query."); at != std::string::npos) name.replace(at, 6, "to_q.");
    if (name.starts_with("layers.")) name.replace(0, 6, "blocks");
    return name;
  });
  CHECK(at::equal((w / "attn" / "query").get("weight"), checkpoint.tensors.at("attn.to_q.weight")));
  CHECK((w / "attn").has("query.weight"));
  CHECK((w / "attn").has_scope("query"));
  CHECK((w / "attn" / "query").key("weight") == "attn.query.weight");
  CHECK((w / "layers" / 1).has("norm.weight"));
  CHECK(w.has_scope("layers"));
  CHECK((w / "attn" / "query").unused() == Names{"attn.to_q.bias"});
  CHECK(w.unused().size() == checkpoint.tensors.size() - 1);
  CHECK(message_of<LoadError>([&] {
          (w / "attn" / "query").get("scale");
        }).ends_with("has no tensor \"attn.to_q.scale\"; below \"attn.to_q\" it has bias, weight"));

  const Weights inner = checkpoint.open().renamed([](const std::string& name) { return "blocks." + name; });
  CHECK((inner / 1).has("norm.weight"));
  CHECK(inner.has_scope(""));
  CHECK(inner.unused() == Names{"blocks.0.norm.weight", "blocks.1.norm.weight", "blocks.10.norm.weight"});

  const Weights twice = w.renamed(
      [](std::string name) { return name.starts_with("a.") ? "attn.query." + name.substr(2) : name; });
  CHECK(at::equal((twice / "a").get("bias"), checkpoint.tensors.at("attn.to_q.bias")));
}

TEST_CASE("The same tensor is handed out once, as long as it lives") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open(at::kHalf);
  auto first = w.get("attn.to_q.weight");
  CHECK((w / "attn").get("to_q.weight").is_same(first));
  CHECK_FALSE(w.as(at::kFloat).get("attn.to_q.weight").is_same(first));
  const auto storage = first.storage().getWeakStorageImpl();
  first.reset();
  CHECK(storage.expired());  // the scope keeps no tensor that nobody uses
  CHECK(w.get("attn.to_q.weight").scalar_type() == at::kHalf);
}

TEST_CASE("Handles share a unit, and moving it replaces storage in place") {
  const Checkpoint checkpoint;
  const auto source = open_safetensors(checkpoint.path);
  const Weights w(source, at::kCPU, at::kFloat);
  const auto same = w.get("attn.to_q.weight");
  const auto converted = w.as(at::kDouble).get("attn.to_k.weight");
  const auto twice = [](const at::Tensor& tensor) { return at::cat({tensor, tensor}); };
  const auto fused = (w / "attn").derive("to_q.weight", same.sizes(), twice);
  const auto alias = same;
  const std::vector<at::Tensor> all{same, converted, fused};
  const auto memory = [&] {
    std::vector<const void*> pointers;
    for (const auto& tensor : all) pointers.push_back(tensor.const_data_ptr());
    return pointers;
  };
  const auto before = memory();
  const auto values = fused.clone();
  (w / "blocks")
      .to(at::Device(at::kCPU, 0));  // another name of the CPU: everything is moved, but stays testable here
  CHECK(w.device() == at::Device(at::kCPU, 0));
  const auto away = memory();
  for (std::size_t i = 0; i < all.size(); ++i) CHECK(away[i] != before[i]);
  CHECK(alias.is_same(same));
  CHECK(at::equal(same, checkpoint.tensors.at("attn.to_q.weight")));
  CHECK(at::equal(converted, checkpoint.tensors.at("attn.to_k.weight").to(at::kDouble)));
  CHECK(at::equal(fused, values));
  w.to(at::kCPU);
  CHECK(memory() == before);  // the memory that it left, and the file, without a copy
  CHECK(same.const_data_ptr() == source->read("attn.to_q.weight").const_data_ptr());
  CHECK(at::equal(fused, values));
}

TEST_CASE("On the meta device networks are built without data") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open(at::kHalf, at::kMeta);
  const auto weight = w.get("attn.to_q.weight", {4, 3});
  CHECK(weight.is_meta());
  CHECK(weight.scalar_type() == at::kHalf);
  CHECK(weight.sizes() == at::IntArrayRef{4, 3});
  CHECK(w.get("position_ids").scalar_type() == at::kLong);
  CHECK(message_of<LoadError>([&] { w.get("attn.to_q.weight", {1}); }) != "no error");
}

TEST_CASE("On the meta device what waits elsewhere takes no memory and keeps its shape") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open(at::kHalf, at::kMeta);
  const auto bytes = [](const at::Tensor& tensor) { return tensor.storage().nbytes(); };
  const auto before = w.get("attn.to_q.weight", {4, 3});
  w.set_away(true);
  const auto while_away = w.get("position_ids");
  for (const auto& tensor : {before, while_away}) {
    CHECK(bytes(tensor) == static_cast<std::size_t>(tensor.element_size()));
    CHECK(tensor.is_meta());
  }
  CHECK(before.sizes() == at::IntArrayRef{4, 3});
  w.set_away(false);
  CHECK(bytes(before) == 4 * 3 * 2);
  CHECK(before.is_contiguous());
  CHECK(bytes(while_away) == static_cast<std::size_t>(while_away.numel()) * 8);
}

TEST_CASE("Converting weights gives LibTorch's numbers, bit for bit") {
  const auto bits = at::arange(1 << 16).to(at::kInt).to(at::kShort).repeat({5}).slice(0, 0, 300001);
  for (const auto from : {at::kHalf, at::kBFloat16, at::kFloat})
    for (const auto to : {at::kHalf, at::kBFloat16, at::kFloat}) {
      const auto stored = from == at::kFloat ? at::randn({300, 7}) : bits.view(from);
      const auto got = reno::convert(stored, to), expected = stored.to(to);
      CHECK(got.sizes() == stored.sizes());
      CHECK(at::equal(got.isnan(), expected.isnan()));  // whose bits differ
      const auto as_bits = [&](const at::Tensor& x) {
        return x.masked_fill(x.isnan(), 0).view(x.element_size() == 4 ? at::kInt : at::kShort);
      };
      CHECK(at::equal(as_bits(got), as_bits(expected)));
    }
  const auto matrix = at::randn({6, 4}).to(at::kHalf);
  CHECK(at::equal(reno::convert(matrix.t(), at::kBFloat16), matrix.t().to(at::kBFloat16)));
  CHECK(reno::convert(at::empty({0, 3}, at::TensorOptions(at::kHalf)), at::kBFloat16).sizes() ==
        at::IntArrayRef{0, 3});
}

TEST_CASE("On the CPU what is away waits in its file, and comes back as it was") {
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open(at::kHalf);
  const auto twice = [](const at::Tensor& tensor) { return at::cat({tensor, tensor}); };
  const std::vector<at::Tensor> before{w.get("attn.to_q.weight"), w.get("position_ids"),
                                       w.derive("attn.to_q.weight", {4, 3}, twice)};
  std::vector<at::Tensor> values;
  for (const auto& tensor : before) values.push_back(tensor.clone());
  const auto storage = before.front().storage().getWeakStorageImpl();
  w.set_away(true);
  CHECK(storage.expired());
  const std::vector<at::Tensor> while_away{w.as(at::kFloat).get("attn.to_q.weight"),
                                           w.derive("position_ids", values[1].sizes(), twice)};
  for (const auto& tensors : {before, while_away})
    for (const auto& tensor : tensors)
      CHECK(tensor.storage().nbytes() == static_cast<std::size_t>(tensor.element_size()));
  CHECK(before[0].isnan().all().item<bool>());  // so that nobody uses it unnoticed
  CHECK(message_of<LoadError>([&] { w.get("attn.to_q.weight", {1}); }) != "no error");
  w.set_away(false);
  for (std::size_t i = 0; i < before.size(); ++i) CHECK(at::equal(before[i], values[i]));
  CHECK(at::equal(while_away[0], checkpoint.tensors.at("attn.to_q.weight")));
  CHECK(at::equal(while_away[1], twice(values[1])));
}

TEST_CASE("A component moves to the GPU and back as one unit", "[cuda]") {
  const auto device = reno::test::gpu();
  if (!device) return;
  const Checkpoint checkpoint;
  const Weights w = checkpoint.open(at::kHalf);
  const auto converted = w.get("attn.to_q.weight");
  const auto same = w.get("blocks.10.norm.weight");
  const auto fused = w.derive("attn.to_q.weight", converted.sizes(), [](const at::Tensor& tensor) {
    return at::cat({tensor, tensor});
  });
  const auto alias = same;
  const auto* const mapped = same.const_data_ptr();
  w.to(*device);
  for (const auto& tensor : {converted, same, fused, alias, w.get("attn.to_k.weight")})
    CHECK(tensor.is_cuda());
  CHECK(at::equal(converted.cpu(), checkpoint.tensors.at("attn.to_q.weight").to(at::kHalf)));
  w.to(at::kCPU);
  for (const auto& tensor : {converted, same, fused, alias}) CHECK(tensor.is_cpu());
  CHECK(same.const_data_ptr() == mapped);
  CHECK(at::equal(fused, at::cat({converted, converted})));

  for (int visit = 0; visit < 2; ++visit) {
    w.to(*device, /*lock_pages=*/true);
    for (const auto& tensor : {converted, same, fused}) CHECK(tensor.is_cuda());
    CHECK(at::equal(converted.cpu(), checkpoint.tensors.at("attn.to_q.weight").to(at::kHalf)));
    w.to(at::kCPU);
    for (const auto& tensor : {converted, same, fused}) CHECK(tensor.is_pinned());
    CHECK(at::equal(same, checkpoint.tensors.at("blocks.10.norm.weight")));
  }

  const Weights direct = checkpoint.open(at::kHalf, *device);
  CHECK(at::equal(direct.get("attn.to_q.weight").cpu(), converted));
}
