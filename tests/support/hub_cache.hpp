// A cache as the Hugging Face hub's tools fill it: files lie under the hash of their content, and a
// snapshot's names are links to them.
#pragma once

#include <stdlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "support/temporary_folder.hpp"

namespace reno::test {

/// The cache of this process and those that it starts, as long as it lives.
class HubCache {
 public:
  HubCache() {
    if (const char* before = std::getenv("HF_HUB_CACHE")) before_ = before;
    setenv("HF_HUB_CACHE", folder_.path().c_str(), 1);
  }
  HubCache(const HubCache&) = delete;
  HubCache& operator=(const HubCache&) = delete;
  ~HubCache() { before_ ? setenv("HF_HUB_CACHE", before_->c_str(), 1) : unsetenv("HF_HUB_CACHE"); }

  /// Takes all files below `from` into the snapshot of `id` ("org/name" or "name"), and leaves none there.
  /// `below`: a folder in the snapshot.
  void take(const std::string& id, const std::filesystem::path& from,
            const std::filesystem::path& below = {}) {
    namespace fs = std::filesystem;
    const std::string commit = "71153311d3dbb46851df1931d3ca6e939de83304";
    const auto model = folder_of(id);
    fs::create_directories(model / "refs");
    fs::create_directories(model / "blobs");
    std::ofstream(model / "refs/main") << commit;
    for (const auto& entry : fs::recursive_directory_iterator(from)) {
      if (!entry.is_regular_file()) continue;
      const auto blob = model / "blobs" / std::to_string(blobs_++);
      const auto link = model / "snapshots" / commit / below / fs::relative(entry.path(), from);
      fs::create_directories(link.parent_path());
      fs::rename(entry.path(), blob);
      fs::create_symlink(fs::relative(blob, link.parent_path()), link);
    }
    fs::remove_all(from);
  }

  /// All files that were taken under this id.
  std::vector<std::filesystem::path> blobs(const std::string& id) const {
    std::vector<std::filesystem::path> all;
    for (const auto& entry : std::filesystem::directory_iterator(folder_of(id) / "blobs"))
      all.push_back(entry.path());
    return all;
  }

  /// A folder to prepare files in, on the cache's disk.
  std::filesystem::path workshop() const {
    std::filesystem::create_directories(folder_ / "workshop");
    return folder_ / "workshop";
  }

 private:
  std::filesystem::path folder_of(const std::string& id) const {
    std::string name = "models--" + id;
    if (const auto slash = name.find('/'); slash != std::string::npos) name.replace(slash, 1, "--");
    return folder_ / name;
  }

  TemporaryFolder folder_;
  std::optional<std::string> before_;
  int blobs_ = 0;
};

}  // namespace reno::test
