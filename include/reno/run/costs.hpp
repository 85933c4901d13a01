// Where the time and memory of a run went.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>

#include "reno/stage_clock.hpp"

namespace reno {

struct Costs {
  double load_seconds = 0.0;
  double encode_seconds = 0.0;
  double optimize_seconds = 0.0;
  double finish_seconds = 0.0;  ///< of the images themselves, after previews
  std::int64_t iterations = 0;  ///< of all batches
  std::int64_t peak_bytes = 0;
  StageSeconds stages;  ///< of all iterations

  double seconds_per_iteration() const {
    return iterations > 0 ? optimize_seconds / static_cast<double>(iterations) : 0.0;
  }

  /// Of another process that did a part of the same run.
  void add(const Costs& other) {
    load_seconds += other.load_seconds;
    encode_seconds += other.encode_seconds;
    optimize_seconds += other.optimize_seconds;
    finish_seconds += other.finish_seconds;
    iterations += other.iterations;
    stages.add(other.stages);
    peak_bytes = std::max(peak_bytes, other.peak_bytes);
  }
};

inline nlohmann::ordered_json costs_json(const Costs& costs) {
  nlohmann::ordered_json object;
  object["seconds"] = {{"load", costs.load_seconds},
                       {"encode", costs.encode_seconds},
                       {"optimize", costs.optimize_seconds},
                       {"finish", costs.finish_seconds},
                       {"per_iteration", costs.seconds_per_iteration()}};
  for (const auto& [stage, seconds] : costs.stages.all())
    object["seconds"]["iteration"][stage] = seconds / static_cast<double>(costs.iterations);
  object["iterations"] = costs.iterations;
  object["peak_memory_bytes"] = costs.peak_bytes;
  return object;
}

/// Throws a JSON exception when the object is not as `costs_json` writes it.
inline Costs parse_costs(const nlohmann::ordered_json& object) {
  const auto& seconds = object.at("seconds");
  Costs costs{seconds.at("load").get<double>(),
              seconds.at("encode").get<double>(),
              seconds.at("optimize").get<double>(),
              seconds.value("finish", 0.0),
              object.at("iterations").get<std::int64_t>(),
              object.at("peak_memory_bytes").get<std::int64_t>(),
              {}};
  if (seconds.contains("iteration")) {
    for (const auto& [stage, mean] : seconds["iteration"].items())
      costs.stages.add(stage, mean.get<double>() * static_cast<double>(costs.iterations));
  }
  return costs;
}

namespace detail {

/// Does the work and adds the seconds that it took.
template <class Work>
decltype(auto) timed(double& seconds, const Work& work) {
  const auto started = std::chrono::steady_clock::now();
  decltype(auto) result = work();
  seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return result;
}

}  // namespace detail

}  // namespace reno
