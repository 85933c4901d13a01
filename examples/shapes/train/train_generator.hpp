// Trains the generator: text first, then pictures read off coarse features, then full pictures.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "reno/io/safetensors.hpp"
#include "reno/text/clip_tokenizer.hpp"
#include "shapes/judge/tally.hpp"
#include "shapes/train/generator.hpp"
#include "shapes/train/generator_loss.hpp"
#include "shapes/train/tokenizer_files.hpp"
#include "shapes/train/training_loop.hpp"

namespace reno::shapes {

/// Steps and batch size of each stage.
struct GeneratorPlan {
  std::uint64_t seed = 0;
  int text_steps = 300, text_batch = 128;
  int coarse_steps = 6000, coarse_batch = 32;  ///< the first quarter with prompts of two coloured objects
  int full_steps = 4000, full_batch = 16;

  /// The same with other numbers of steps, at least one each.
  GeneratorPlan scaled(double factor) const {
    GeneratorPlan plan = *this;
    for (int* steps : {&plan.text_steps, &plan.coarse_steps, &plan.full_steps})
      *steps = std::max(1, static_cast<int>(std::lround(factor * *steps)));
    return plan;
  }
  /// Half a minute that shows that everything learns.
  static GeneratorPlan tiny() {
    GeneratorPlan plan;
    plan.text_steps = 80;
    plan.text_batch = 32;
    plan.coarse_steps = 65;
    plan.coarse_batch = 8;
    plan.full_steps = 20;
    plan.full_batch = 4;
    return plan;
  }
  int steps() const { return text_steps + coarse_steps + full_steps; }
  std::string words() const {
    return fmt::format("generator, seed {}, steps {}+{}+{} with batches of {}+{}+{}", seed, text_steps,
                       coarse_steps, full_steps, text_batch, coarse_batch, full_batch);
  }
};

/// How the averaged generator does on prompts and noises that training never shows.
struct GeneratorScore {
  double loss = 0;  ///< picture_loss
  double psnr = 0;  ///< dB, to the teacher's pictures
  Table::Mean judged, teacher;

  std::string words() const {
    return fmt::format(
        "loss {:.4f} ({:.2f} dB)  judge correct {:.3f} strict {:.3f} partial {:.3f}  (teacher {:.3f} {:.3f} "
        "{:.3f})",
        loss, psnr, judged.correct, judged.strict, judged.partial, teacher.correct, teacher.strict,
        teacher.partial);
  }
};

class GeneratorTraining {
 public:
  GeneratorTraining(const GeneratorPlan& plan, const TrainingFiles& files)
      : plan_(plan),
        files_(files),
        tokenizer_(written_tokenizer(files.model / "tokenizer")),
        configs_(tokenizer_.vocabulary_size(), tokenizer_.start_id(), tokenizer_.end_id()),
        parameters_(stream_seed(plan.seed, 1)),
        network_(parameters_, configs_),
        optimizer_(parameters_.tensors(), settings()) {}

  /// From the checkpoint, if there is one, to the end; then writes the model.
  void run() {
    run_training(
        {"generator", plan_.words(), plan_.steps()}, files_, optimizer_,
        [this](std::int64_t step) { return learn(step); }, [this] { return evaluate(6).words(); });
    write_model();
  }

  /// On `per_category` held-out prompts of each category.
  GeneratorScore evaluate(int per_category) {
    const c10::NoGradGuard no_grad;
    Random random(stream_seed(plan_.seed, 2));
    const auto lesson = make_lesson(held_out_descriptions(per_category, stream_seed(plan_.seed, 3)), random);
    optimizer_.swap_averages();
    const auto drawing = network_.draw(lesson.noise, network_.read(tokens(lesson.prompts)), full());
    const auto image = (full() ? drawing.image : network_.coarse(drawing)).clamp(-1, 1);
    optimizer_.swap_averages();
    return {picture_loss(image, lesson).item<double>(),
            -10 * std::log10((image - lesson.images).square().mean().item<double>() / 4),
            judged(image, lesson.descriptions), judged(lesson.images, lesson.descriptions)};
  }

  /// The averaged weights in Stable Diffusion's layout, float16.
  void write_model() const {
    write_component("text_encoder", "model.safetensors", configs_.text_encoder);
    write_component("unet", "diffusion_pytorch_model.safetensors", configs_.unet);
    write_component("vae", "diffusion_pytorch_model.safetensors", configs_.vae);
    write_json(files_.model / "scheduler" / "scheduler_config.json", configs_.scheduler);
    write_json(files_.model / "model_index.json", configs_.index);
  }

 private:
  static ClipTokenizer written_tokenizer(const std::filesystem::path& folder) {
    write_clip_tokenizer(folder, prompt_length);
    return ClipTokenizer::from_directory(folder, ClipTextStyle::transformers);
  }

  static OptimizerSettings settings() {
    OptimizerSettings settings;
    settings.by_muon = [](const std::string& name) {
      const bool inside =
          name.find(".conv_in.") == std::string::npos && name.find(".conv_out.") == std::string::npos;
      return inside && (name.starts_with("unet.") || name.starts_with("vae."));
    };
    return settings;
  }

  bool full() const { return optimizer_.steps() >= plan_.text_steps + plan_.coarse_steps; }

  nn::TokenIds tokens(const std::vector<std::string>& prompts) {
    nn::TokenIds ids;
    for (const auto& prompt : prompts) {
      auto& known = known_prompts_[prompt];
      if (known.empty()) known = tokenizer_.encode(prompt).ids;
      ids.push_back(known);
    }
    return ids;
  }

  /// One step; returns its losses in words.
  std::string learn(std::int64_t step) {
    Random random(stream_seed(plan_.seed, 1000 + static_cast<std::uint64_t>(step)));
    const auto losses = step < plan_.text_steps ? learn_text(random) : learn_pictures(step, random);
    const double rate = Schedule{}(static_cast<double>(step) / plan_.steps());
    const double norm = optimizer_.step(rate);
    return fmt::format("{}  gradient {:.2f}  rate {:.3f}", losses, norm, rate);
  }

  std::string learn_text(Random& random) {
    const auto descriptions = training_descriptions(plan_.text_batch, all_prompts, random);
    std::vector<std::string> prompts;
    for (const auto& description : descriptions) prompts.push_back(random_text(description, random));
    const auto ids = tokens(prompts);
    const auto loss = prompt_loss(network_, ids, network_.read(ids), descriptions);
    loss.backward();
    return fmt::format("text {:.4f}", loss.item<double>());
  }

  std::string learn_pictures(std::int64_t step, Random& random) {
    const bool easy = step < plan_.text_steps + plan_.coarse_steps / 4;
    const int batch = full() ? plan_.full_batch : plan_.coarse_batch;
    const auto lesson =
        make_lesson(training_descriptions(batch, easy ? easy_prompts : all_prompts, random), random);
    const auto loss = generator_loss(network_, lesson, tokens(lesson.prompts), full());
    total(loss).backward();
    const auto picture = full() ? fmt::format("picture {:.4f}  ", loss.picture.item<double>()) : "";
    return fmt::format("{}coarse {:.4f}  text {:.4f}  objects {:.3f} {:.3f}", picture,
                       loss.coarse.item<double>(), loss.prompt.item<double>(), loss.understood.item<double>(),
                       loss.kept.item<double>());
  }

  static Table::Mean judged(const at::Tensor& images, const std::vector<Description>& descriptions) {
    const auto pixels = nn::to_image(images);
    Table table;
    for (std::size_t i = 0; i < descriptions.size(); ++i)
      table.add(category(descriptions[i]), judge(pixels[static_cast<std::int64_t>(i)], descriptions[i]));
    return table.mean();
  }

  void write_component(const std::string& name, const char* weights,
                       const nlohmann::ordered_json& config) const {
    TensorMap halves;
    for (const auto& [key, tensor] : below(optimizer_.averages(), name + "."))
      halves.emplace(key, tensor.to(at::kHalf));
    write_json(files_.model / name / "config.json", config);
    write_safetensors(files_.model / name / weights, halves, {{"format", "pt"}});
  }

  GeneratorPlan plan_;
  TrainingFiles files_;
  ClipTokenizer tokenizer_;
  GeneratorFiles configs_;
  Parameters parameters_;
  GeneratorNetwork network_;
  Optimizer optimizer_;
  std::map<std::string, std::vector<std::int64_t>> known_prompts_;
};

}  // namespace reno::shapes
