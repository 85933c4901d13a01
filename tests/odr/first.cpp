// Half of the one-definition-rule check: every header in two translation units of one program.
#include "all_headers.hpp"

int seen_by_first() { return __cplusplus >= 202002L; }
