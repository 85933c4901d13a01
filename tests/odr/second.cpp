// The other half: that this program links shows that every definition in a header is inline or a template.
#include <catch2/catch.hpp>

#include "all_headers.hpp"

int seen_by_first();

TEST_CASE("every header can be included in two translation units of one program") {
  CHECK(seen_by_first() == 1);
}
