#include <catch2/catch.hpp>

#include "reno/did_you_mean.hpp"

using reno::did_you_mean;
using reno::edit_distance;

TEST_CASE("The edit distance counts typing errors") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("weight", "weight") == 0);
  CHECK(edit_distance("wieght", "weight") == 1);
  CHECK(edit_distance("weigt", "weight") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ca", "abc") == 3);
}

TEST_CASE("The nearest name is suggested if it is near enough") {
  const std::vector<std::string> names = {"adam",  "aesthetic", "clip-score", "grad_clip",
                                          "hpsv2", "lbfgs",     "lr",         "sgd"};
  CHECK(did_you_mean("sdg", names) == "sgd");
  CHECK(did_you_mean("ADAM", names) == "adam");
  CHECK(did_you_mean("grad-clip", names) == "grad_clip");
  CHECK(did_you_mean("clip_score", names) == "clip-score");
  CHECK(did_you_mean("clp", names) == "clip-score");
  CHECK(did_you_mean("clip", names) == "clip-score");
  CHECK(did_you_mean("hps", names) == "");
  CHECK(did_you_mean("asthetics", names) == "aesthetic");
  CHECK(did_you_mean("pickscore", names) == "");
  CHECK(did_you_mean("x", names) == "");
  CHECK(did_you_mean("", names) == "");
  CHECK(did_you_mean("anything", {}) == "");
  CHECK(did_you_mean("sgd2", {"sgd1", "sgd"}) == "sgd1");
}
