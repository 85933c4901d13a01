// Where a model's tokenizer is: what the user names, else beside the weights, else, for checkpoints that are
// published without one, the tokenizer that the model was trained with.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "reno/context.hpp"
#include "reno/io/hub.hpp"

namespace reno {

/// What a model can say of its tokenizer.
struct TokenizerPlace {
  std::optional<std::filesystem::path> wanted;  ///< the user's option
  std::filesystem::path beside;                 ///< the weights' directory
  std::vector<std::string> files;               ///< any of them shows that a tokenizer is there
  std::string published;                        ///< hub id
};

/// The directory. Says in the log when it is not the weights' own. Throws LoadError when it cannot be found.
inline std::filesystem::path find_tokenizer(const std::string& component, const TokenizerPlace& place,
                                            const Context& context) {
  std::error_code none;
  if (!place.wanted)
    for (const auto& file : place.files)
      if (std::filesystem::exists(place.beside / file, none)) return place.beside;
  const auto wanted = place.wanted ? place.wanted->string() : place.published;
  auto found = resolve_checkpoint(wanted, context.search_paths);
  context.log->info("{}: the tokenizer is that of {}", component, wanted);
  return found;
}

}  // namespace reno
