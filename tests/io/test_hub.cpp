#include <catch2/catch.hpp>
#include <cstdlib>
#include <map>

#include "reno/io/hub.hpp"
#include "support/temporary_folder.hpp"

using reno::hub_cache;
using reno::LoadError;
using reno::parse_hub_id;
using reno::resolve_checkpoint;
using reno::test::message_of;
using reno::test::TemporaryFolder;

namespace {

using Variables = std::map<std::string, std::string>;

/// Sets what the cache's place depends on, and restores it.
class Environment {
 public:
  explicit Environment(const Variables& values) {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"}) {
      if (const char* value = std::getenv(name)) before_[name] = value;
      ::unsetenv(name);
    }
    for (const auto& [name, value] : values) ::setenv(name.c_str(), value.c_str(), 1);
  }
  ~Environment() {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"})
      ::unsetenv(name);
    for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
  }

 private:
  Variables before_;
};

/// A cache as the Python tools leave it: files are links into blobs/.
struct Cache {
  Cache() {
    folder.write("models--org--name/blobs/abc", "weights");
    snapshot("1111aaaa");
    snapshot("2222bbbb");
    folder.write("models--org--name/refs/main", "1111aaaa");
    folder.write("models--org--name/refs/refs/pr/3", "2222bbbb\n");
    folder.write("models--gpt2/snapshots/3333/config.json", "{}");
    folder.write("models--gpt2/refs/main", "3333");
  }

  void snapshot(const std::string& commit) const {
    const auto unet = model() / "snapshots" / commit / "unet";
    std::filesystem::create_directories(unet);
    std::filesystem::create_symlink("../../../blobs/abc", unet / "w.safetensors");
  }

  std::filesystem::path model() const { return folder / "models--org--name"; }

  TemporaryFolder folder;
  Environment environment{Variables{{"HF_HUB_CACHE", folder.path().string()}, {"HOME", "/home/nobody"}}};
};

}  // namespace

TEST_CASE("Hub ids are taken apart") {
  CHECK(parse_hub_id("stabilityai/sd-turbo")->repository == "stabilityai/sd-turbo");
  CHECK(parse_hub_id("stabilityai/sd-turbo")->revision == "main");
  CHECK(parse_hub_id("bert-base-uncased")->repository == "bert-base-uncased");
  CHECK(parse_hub_id("org/name@refs/pr/3")->revision == "refs/pr/3");
  const auto file = parse_hub_id("org/name/unet/w.safetensors@v1.0");
  CHECK(file->repository == "org/name");
  CHECK(file->file == "unet/w.safetensors");
  CHECK(file->revision == "v1.0");
}

TEST_CASE("What could leave the cache is no hub id") {
  for (const char* text : {"",
                           "/",
                           "/etc/passwd",
                           "org/",
                           "/name",
                           "../name",
                           "org/..",
                           "org/name/../../x",
                           "org/name/",
                           "org//x",
                           "org/na me",
                           "org/name@",
                           "org/name@..",
                           "org/name@../../x",
                           "org/name@/etc",
                           "-rf/name",
                           ".git/name",
                           "org/a--b",
                           "org/name@a@b",
                           "org/na\nme",
                           "org/../name"})
    CHECK_FALSE(parse_hub_id(text));
  CHECK_FALSE(parse_hub_id(std::string(97, 'x')));
  CHECK_FALSE(parse_hub_id(std::string("a\0b", 3)));
}

TEST_CASE("The cache lies where the Python libraries put it") {
  {
    const Environment environment(Variables{{"HOME", "/h"}});
    CHECK(hub_cache() == "/h/.cache/huggingface/hub");
  }
  {
    const Environment environment(Variables{{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}});
    CHECK(hub_cache() == "/x/huggingface/hub");
  }
  {
    const Environment environment(Variables{{"HOME", "/h"}, {"XDG_CACHE_HOME", "/x"}, {"HF_HOME", "/hf"}});
    CHECK(hub_cache() == "/hf/hub");
  }
  {
    const Environment environment(
        {{"HF_HOME", "/hf"}, {"HF_HUB_CACHE", "/cache"}, {"HUGGINGFACE_HUB_CACHE", "/old"}});
    CHECK(hub_cache() == "/cache");
  }
}

TEST_CASE("An id resolves to the snapshot of its revision") {
  const Cache cache;
  const auto snapshots = cache.model() / "snapshots";
  CHECK(resolve_checkpoint("org/name", {}) == snapshots / "1111aaaa");
  CHECK(resolve_checkpoint("org/name@refs/pr/3", {}) == snapshots / "2222bbbb");
  CHECK(resolve_checkpoint("org/name@2222bbbb", {}) == snapshots / "2222bbbb");
  CHECK(resolve_checkpoint("org/name/unet/w.safetensors", {}) == snapshots / "1111aaaa/unet/w.safetensors");
  CHECK(reno::test::read_file(resolve_checkpoint("org/name/unet/w.safetensors", {})) == "weights");
  CHECK(resolve_checkpoint("gpt2", {}) == cache.folder / "models--gpt2/snapshots/3333");
}

TEST_CASE("A path of the user's own comes before the cache") {
  const Cache cache;
  const TemporaryFolder first;
  const TemporaryFolder second;
  second.write("org/name/config.json", "{}");
  CHECK(resolve_checkpoint("org/name", {first.path(), second.path()}) == second / "org/name");
  first.write("org/name/config.json", "{}");
  CHECK(resolve_checkpoint("org/name", {first.path(), second.path()}) == first / "org/name");
  CHECK(resolve_checkpoint((second / "org").string(), {first.path()}) == second / "org");
  CHECK(resolve_checkpoint("../" + second.path().filename().string(), {first.path()}) ==
        first / ".." / second.path().filename());
  ::setenv("HOME", second.path().c_str(), 1);
  CHECK(resolve_checkpoint("~/org", {first.path()}) == second / "org");
}

TEST_CASE("What is not found is reported with every place and the way to get it") {
  const Cache cache;
  const auto failure = [&](const std::string& name, const std::vector<std::filesystem::path>& paths) {
    return message_of<LoadError>([&] { resolve_checkpoint(name, paths); });
  };
  const auto folder = cache.folder.path().string();
  CHECK(failure("org/other", {"/a", "/b"}) ==
        "no weights found for \"org/other\"; looked at /a/org/other, /b/org/other, " + folder +
            "/models--org--other/refs/main; download them with `huggingface-cli download org/other` or name "
            "a directory "
            "that holds them");
  CHECK(failure("org/name/vae/w.safetensors@refs/pr/3", {}) ==
        "no weights found for \"org/name/vae/w.safetensors@refs/pr/3\"; looked at "
        "org/name/vae/w.safetensors@refs/pr/3, " +
            folder +
            "/models--org--name/snapshots/2222bbbb/vae/w.safetensors; download them with `huggingface-cli "
            "download "
            "org/name vae/w.safetensors --revision refs/pr/3` or name a directory that holds them");
  CHECK(failure("org/name@4444", {}) == "no weights found for \"org/name@4444\"; looked at org/name@4444, " +
                                            folder +
                                            "/models--org--name/refs/4444; download them with "
                                            "`huggingface-cli download org/name --revision 4444` or name a "
                                            "directory that holds them");
  CHECK(failure("/no/such/place", {"/a"}) ==
        "no weights found for \"/no/such/place\"; looked at /no/such/place");
  CHECK(failure("", {}) == "the name of the weights is empty, expected a path or a hub id such as org/name");
}

TEST_CASE("A damaged cache cannot lead elsewhere") {
  const Cache cache;
  const auto ref = cache.folder.write("models--org--name/refs/main", "../../../../etc");
  const auto failure = [] { return message_of<LoadError>([] { resolve_checkpoint("org/name", {}); }); };
  CHECK(failure() == ref.string() + ": holds \"../../../../etc\", expected the name of a commit");
  cache.folder.write("models--org--name/refs/main", "");
  CHECK(failure() == ref.string() + ": is empty");
  cache.folder.write("models--org--name/refs/main", std::string(1'000'000, 'a'));
  CHECK(failure().starts_with(ref.string() + ": holds \"aaaa"));
}
