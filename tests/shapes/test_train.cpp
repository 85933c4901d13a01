// The program shapes-train and what it is made of.
#include <ATen/ATen.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <regex>
#include <thread>

#include "shapes/train/lessons.hpp"
#include "shapes/train/optimizer.hpp"
#include "shapes/train/tokenizer_files.hpp"
#include "shapes/world_support.hpp"
#include "support/program.hpp"

using namespace reno::shapes;
using reno::test::Outcome;
using reno::test::Program;
using reno::test::TemporaryFolder;

namespace {

/// The tiny training, or a part of it.
std::vector<std::string> tiny_generator(const std::filesystem::path& output, const std::string& scale = "1") {
  return {"generator", "--tiny", "--output", output.string(), "--scale", scale};
}

Outcome shapes_train(const std::vector<std::string>& arguments) {
  return Program(arguments, RENO_SOURCE_DIR, "shapes-train").wait();
}

/// Every "name number" that the lines with held-out scores tell, in their order.
std::vector<double> held_out(const std::string& output, const std::string& name) {
  std::vector<double> values;
  const std::regex pattern("held out: .*?" + name + " (-?[0-9.]+)");
  for (auto match = std::sregex_iterator(output.begin(), output.end(), pattern);
       match != std::sregex_iterator(); ++match)
    values.push_back(std::stod((*match)[1]));
  return values;
}

}  // namespace

TEST_CASE("the teacher is right often and wrong often") {
  Random random(5);
  const auto lesson = make_lesson(held_out_descriptions(60, 7), random);
  const double correct = reno::test::accuracy((lesson.images + 1) / 2, lesson.descriptions);
  CHECK(correct > .45);
  CHECK(correct < .7);
  CHECK(lesson.cells.numel() > static_cast<std::int64_t>(lesson.descriptions.size()));
}

TEST_CASE("what the teacher calls clear objects is what it paints") {
  Random random(6);
  std::vector<float> noise(noise_numel);
  int found = 0, clear = 0;
  for (int i = 0; i < 200; ++i) {
    for (auto& value : noise) value = static_cast<float>(random.normal());
    const auto wanted = training_description(all_prompts, random);
    const auto scene = teach(noise, wanted);
    auto image = at::empty({3, image_size, image_size});
    paint(scene, image);
    const auto objects = detect(image);
    for (const auto& object : scene.objects) {
      if (!object.clear) continue;
      ++clear;
      found += std::any_of(objects.begin(), objects.end(), [&](const Detection& detection) {
        return detection.color == object.color && std::abs(detection.x - object.mark.x) < 3 &&
               std::abs(detection.y - object.mark.y) < 3;
      });
    }
  }
  REQUIRE(clear > 200);
  CHECK(found > .8 * clear);  // the others are partly hidden, or touch another one
}

TEST_CASE("lessons depend on their seed alone and never show what is held out") {
  Random one(stream_seed(3, 4)), other(stream_seed(3, 4)), next(stream_seed(3, 5));
  const auto lesson = make_lesson(training_descriptions(40, all_prompts, one), one);
  const auto again = make_lesson(training_descriptions(40, all_prompts, other), other);
  CHECK(lesson.prompts == again.prompts);
  CHECK(lesson.noise.equal(again.noise));
  CHECK(lesson.images.equal(again.images));
  CHECK_FALSE(lesson.noise.equal(random_noise(40, next)));
  for (const auto& description : lesson.descriptions) CHECK_FALSE(held_out(description));
}

TEST_CASE("optimizers descend, and their averages follow") {
  at::manual_seed(1);
  const auto target = at::randn({6, 4});
  for (const bool muon : {false, true}) {
    const TensorMap parameters = {{"matrix", at::zeros({6, 4}).set_requires_grad(true)}};
    OptimizerSettings settings;
    settings.lr = .05;
    settings.muon_lr = .05;
    settings.by_muon = [&](const std::string&) { return muon; };
    Optimizer optimizer(parameters, settings);
    const auto& matrix = parameters.at("matrix");
    const double before = (matrix - target).norm().item<double>();
    for (int step = 0; step < 150; ++step) {
      (matrix - target).square().sum().backward();
      optimizer.step(1 - step / 150.);
    }
    INFO((muon ? "Muon" : "AdamW"));
    CHECK((matrix - target).norm().item<double>() < .1 * before);
    CHECK((optimizer.averages().at("matrix") - target).norm().item<double>() < .5 * before);
  }
}

TEST_CASE("AdamW takes the steps of torch.optim.AdamW") {
  // lr 0.1, betas (0.9, 0.98), weight decay 0.01, gradients 1, then -2 for the parameter 1: by hand.
  const TensorMap parameters = {{"p", at::ones({1, 1}).set_requires_grad(true)}};
  OptimizerSettings settings;
  settings.lr = .1;
  settings.clip = 100;
  Optimizer optimizer(parameters, settings);
  const auto& p = parameters.at("p");
  double expected = 1, m = 0, v = 0;
  for (const double gradient : {1., -2.}) {
    (p * gradient).sum().backward();
    optimizer.step(1);
    const auto step = static_cast<double>(optimizer.steps());
    m = .9 * m + .1 * gradient;
    v = .98 * v + .02 * gradient * gradient;
    expected = expected * (1 - .1 * .01) -
               .1 * (m / (1 - std::pow(.9, step))) / (std::sqrt(v / (1 - std::pow(.98, step))) + 1e-8);
    CHECK(p.item<double>() == Approx(expected).epsilon(1e-5));
  }
}

TEST_CASE("Muon's steps are nearly orthogonal") {
  at::manual_seed(2);
  for (const auto& sizes : {std::array<std::int64_t, 2>{12, 30}, std::array<std::int64_t, 2>{30, 12}}) {
    const auto values = std::get<1>(at::linalg_svd(reno::shapes::detail::orthogonalized(at::randn(sizes))));
    CHECK(values.min().item<double>() > .3);
    CHECK(values.max().item<double>() < 1.3);
  }
}

TEST_CASE("every word of the world is one token") {
  const auto merges = merges_of(all_words());
  for (const auto& word : all_words()) CHECK(reno::shapes::detail::merged(word, merges).size() == 1);
  CHECK(vocabulary_json(merges).size() == 512 + merges.size() + 2);
}

TEST_CASE("shapes-train learns to draw") {
  const TemporaryFolder folder;
  const auto trained = shapes_train(tiny_generator(folder.path()));
  INFO(trained.output << trained.errors);
  REQUIRE(trained.status == 0);
  const auto loss = held_out(trained.output, "loss"), partial = held_out(trained.output, "partial");
  REQUIRE(loss.size() == 2);  // untrained, trained
  CHECK(loss.back() < .75 * loss.front());
  CHECK(partial.back() > partial.front() + .05);
}

TEST_CASE("a training that was stopped ends with the same weights") {
  const TemporaryFolder folder;
  REQUIRE(shapes_train(tiny_generator(folder / "whole", "0.2")).status == 0);
  auto saving = tiny_generator(folder / "parts", "0.2");
  saving.insert(saving.end(), {"--save-every", "10"});
  Program stopped(saving, RENO_SOURCE_DIR, "shapes-train");
  const auto saved = folder / "parts/checkpoints/generator.safetensors";
  for (int i = 0; i < 6000 && !std::filesystem::exists(saved); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  stopped.signal(SIGINT);
  CHECK(stopped.wait().status == 130);
  REQUIRE(shapes_train(tiny_generator(folder / "parts", "0.2")).status == 0);
  for (const char* file : {"text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors",
                           "vae/diffusion_pytorch_model.safetensors"}) {
    INFO(file);
    const auto bytes = reno::test::read_file(folder / "whole/generator" / file);
    CHECK(bytes.size() > 100'000);
    CHECK(bytes == reno::test::read_file(folder / "parts/generator" / file));
  }

  auto other_seed = tiny_generator(folder / "parts");
  other_seed.insert(other_seed.end(), {"--seed", "1"});
  const auto refused = shapes_train(other_seed);
  CHECK(refused.status == 3);
  CHECK(refused.errors.find("is the checkpoint of another training") != std::string::npos);
}

TEST_CASE("shapes-train explains itself") {
  const auto help = shapes_train({"--help"});
  CHECK(help.status == 0);
  CHECK(help.output.find("generator") != std::string::npos);
  CHECK(shapes_train({}).status == 2);
  CHECK(shapes_train({"generatr"}).errors ==
        "shapes-train: unknown stage 'generatr'; have: generator, clip, pickscore, hpsv2, imagereward, "
        "aesthetic\n");
  CHECK(shapes_train({"generator", "--scale", "0"}).errors ==
        "shapes-train: --scale 0 is not between 0.0001 and 1000\n");
}
