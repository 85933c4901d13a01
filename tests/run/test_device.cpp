#include <ATen/Context.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "reno/run/device.hpp"

namespace {

using namespace reno;

std::vector<std::string> devices(const std::string& name, std::int64_t gpus) {
  std::vector<std::string> all;
  for (std::int64_t process = 0; process < 5; ++process) all.push_back(process_device(name, gpus, process));
  return all;
}

TEST_CASE("processes on one machine take turns on its GPUs", "[device]") {
  const std::vector<std::string> turns = {"cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"};
  CHECK(devices("auto", 3) == turns);
  CHECK(devices("cuda", 3) == turns);
  CHECK(devices("auto", 1) == std::vector<std::string>(5, "cuda:0"));
}

TEST_CASE("a device that is named is everybody's", "[device]") {
  CHECK(devices("cuda:1", 3) == std::vector<std::string>(5, "cuda:1"));
  CHECK(devices("cpu", 3) == std::vector<std::string>(5, "cpu"));
  CHECK(devices("auto", 0) == std::vector<std::string>(5, "cpu"));
}

TEST_CASE("a GPU computes float32 with all its bits, not in TF32", "[device]") {
  at::globalContext().setAllowTF32CuDNN(true);
  at::globalContext().setAllowTF32CuBLAS(true);
  resolve_device("auto");
  CHECK_FALSE(at::globalContext().allowTF32CuDNN());
  CHECK_FALSE(at::globalContext().allowTF32CuDNN(at::Float32Op::CONV));
  CHECK_FALSE(at::globalContext().allowTF32CuBLAS());
  CHECK(at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::CONV) !=
        at::Float32Precision::TF32);
  CHECK(at::globalContext().float32Precision(at::Float32Backend::CUDA, at::Float32Op::MATMUL) !=
        at::Float32Precision::TF32);
}

}  // namespace
