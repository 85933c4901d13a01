#include "shapes/train/train_generator.hpp"

#include "shapes/train/stages.hpp"

namespace reno::shapes {

void train_generator(const StageOptions& options) {
  auto plan = options.tiny ? GeneratorPlan::tiny() : GeneratorPlan{};
  plan.seed = options.seed;
  GeneratorTraining training(plan.scaled(options.scale), options.files("generator"));
  training.run();
  say("generator  held out: " + training.evaluate(options.tiny ? 6 : 30).words());
}

}  // namespace reno::shapes
