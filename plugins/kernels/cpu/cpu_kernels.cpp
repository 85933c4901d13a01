// The plugin of operators for the CPU.
#include "../operators.hpp"
#include "attention.hpp"
#include "group_norm.hpp"
#include "reno/plugin.hpp"

using namespace reno::kernels;

RENO_PLUGIN("cpu-kernels", [](reno::Registry&) {
  Operators operators{group_norm, group_norm_backward};
  if (multiplies_bfloat16()) {
    operators.attention = attention;
    operators.attention_backward = attention_backward;
  }
  static const auto kept = register_operators(c10::DispatchKey::CPU, operators);
})
