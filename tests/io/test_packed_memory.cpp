#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <vector>

#include "reno/io/packed_memory.hpp"

using reno::PackedMemory;

TEST_CASE("Packed copies equal their originals, strides included, and share one piece of memory") {
  at::manual_seed(1);
  const auto matrix = at::randn({6, 5});
  const std::vector<at::Tensor> originals = {
      matrix,        matrix.t(),        matrix.narrow(0, 2, 2).to(at::kHalf),     at::randn({}, at::kDouble),
      at::arange(7), at::empty({0, 3}), at::randn({2, 3, 4, 4}).to(at::kBFloat16)};
  std::int64_t expected = 0;
  for (const auto& tensor : originals) expected += PackedMemory::size_of(tensor);
  PackedMemory memory(expected, {});
  std::vector<at::Tensor> copies;
  for (const auto& tensor : originals) copies.push_back(memory.copy(tensor));
  for (std::size_t i = 0; i < copies.size(); ++i) {
    CHECK(at::equal(copies[i], originals[i]));
    CHECK(copies[i].strides() == originals[i].strides());
    CHECK(copies[i].scalar_type() == originals[i].scalar_type());
    CHECK(copies[i].storage().data() == copies[0].storage().data());
  }
  CHECK(static_cast<std::int64_t>(copies[0].storage().nbytes()) == expected);
  CHECK(matrix.const_data_ptr() != copies[0].const_data_ptr());
}

TEST_CASE("Packed memory has room for what nobody expected, and for tensors with gaps") {
  PackedMemory memory(0, {});
  const auto large = at::arange(1000), gaps = at::arange(20).reshape({4, 5}).narrow(1, 1, 2);
  const auto first = memory.copy(large), second = memory.copy(gaps);
  CHECK(at::equal(first, large));
  CHECK(at::equal(second, gaps));
  CHECK(second.is_contiguous());
}
