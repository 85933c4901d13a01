#include <ATen/ATen.h>

#include <catch2/catch.hpp>

#include "reno/io/sharded.hpp"
#include "support/temporary_folder.hpp"

using reno::LoadError;
using reno::ShardedSource;
using reno::test::message_of;
using reno::test::TemporaryFolder;

namespace {

/// Two shards with tensors a, b and c, d.
struct TwoShards {
  TwoShards() {
    reno::write_safetensors(folder / "m-00001-of-00002.safetensors",
                            {{"b", at::full({2}, 2.0)}, {"a", at::full({1}, 1.0)}});
    reno::write_safetensors(folder / "m-00002-of-00002.safetensors",
                            {{"d", at::full({4}, 4.0)}, {"c", at::full({3}, 3.0)}});
  }

  std::string failure(const std::string& index) const {
    folder.write("m.safetensors.index.json", index);
    auto message = message_of<LoadError>([&] { ShardedSource source(folder / "m.safetensors.index.json"); });
    const std::string prefix = folder.path().string() + "/";
    for (auto at = message.find(prefix); at != std::string::npos; at = message.find(prefix))
      message.erase(at, prefix.size());
    return message;
  }

  std::string shard_failure(const std::string& shard) const {
    return failure(R"({"weight_map":{"a":)" + shard + "}}");
  }

  TemporaryFolder folder;
};

const char* const good_index = R"({"metadata":{"total_size":80},"weight_map":{
  "c":"m-00002-of-00002.safetensors","a":"m-00001-of-00002.safetensors","b":"m-00001-of-00002.safetensors"}})";

}  // namespace

TEST_CASE("Shards are one source, and the index decides what belongs to it") {
  const TwoShards shards;
  CHECK(shards.failure(good_index) == "no error");
  const ShardedSource source(shards.folder / "m.safetensors.index.json");
  CHECK(source.names() == std::vector<std::string>{"a", "b", "c"});
  CHECK(at::equal(source.read("c"), at::full({3}, 3.0)));
  CHECK(source.find("c")->file == (shards.folder / "m-00002-of-00002.safetensors").string());
  CHECK(source.find("d") == nullptr);
  CHECK(source.description() == (shards.folder / "m.safetensors.index.json").string());
  CHECK(message_of<LoadError>([&] { source.read("d"); }) == source.description() + ": has no tensor \"d\"");
}

TEST_CASE("An index that is no index is refused") {
  const TwoShards shards;
  CHECK(shards.failure("[]") == "m.safetensors.index.json: expected a JSON object, got array");
  CHECK(shards.failure("{") == "m.safetensors.index.json:1:2: is not valid JSON: syntax error");
  const std::string no_map =
      "m.safetensors.index.json: has no object \"weight_map\", expected one from tensor names to shard files";
  CHECK(shards.failure("{}") == no_map);
  CHECK(shards.failure(R"({"weight_map":[]})") == no_map);
  CHECK(shards.failure(R"({"weight_map":{"a":"x","a":"y"}})") ==
        "m.safetensors.index.json: key \"a\" appears twice");
}

TEST_CASE("A shard cannot lie outside the index's directory") {
  const TwoShards shards;
  const auto refused = [](const std::string& name) {
    return "m.safetensors.index.json: the shard of tensor \"a\" is " + name +
           ", expected the plain name of a file beside the index";
  };
  for (const std::string name : {R"("/etc/passwd")", R"("../m-00001-of-00002.safetensors")", R"("..")",
                                 R"(".")", R"("")", R"("sub/m.safetensors")", R"("m\\x")", R"("m\u0000x")"})
    CHECK(shards.shard_failure(name) == refused(name));
  CHECK(shards.shard_failure("3") ==
        "m.safetensors.index.json: the shard of tensor \"a\" is number, expected a file name");
}

TEST_CASE("Shards that are missing, damaged or lack a tensor are named") {
  const TwoShards shards;
  const std::string missing =
      " this shard is missing, but m.safetensors.index.json lists it; is the download complete?";
  CHECK(shards.shard_failure(R"("n.safetensors")") == "n.safetensors:" + missing);
  const std::string endless(1000, 'x');
  CHECK(shards.shard_failure("\"" + endless + "\"") == endless + ":" + missing);
  CHECK(shards.shard_failure(R"("m-00002-of-00002.safetensors")") ==
        "m-00002-of-00002.safetensors: has no tensor \"a\", though m.safetensors.index.json says so");
  shards.folder.write("cut.safetensors", "1234");
  CHECK(shards.shard_failure(R"("cut.safetensors")") ==
        "cut.safetensors: has 4 bytes, expected a safetensors file of at least 8");
}
