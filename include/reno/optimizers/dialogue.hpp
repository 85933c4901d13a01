// A coroutine that asks questions. `co_await question` suspends it until whoever holds it gives the answer,
// so an algorithm that needs values from outside stays straight-line code, and many of them advance in
// lockstep.
//
//     Dialogue<double, double, double> search() { const double f = co_await 1.5; co_return f; }
//     for (auto talk = search(); talk.asking();) talk.answer(objective(talk.question()));
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

namespace reno {

/// Runs to its first question when called. Parameters should be values: references must outlive the dialogue.
template <class Question, class Answer, class Result>
class Dialogue {
 public:
  class promise_type {
   public:
    Dialogue get_return_object() { return Dialogue(Handle::from_promise(*this)); }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_value(Result result) { result_ = std::move(result); }
    void unhandled_exception() { error_ = std::current_exception(); }

    struct Awaiter : std::suspend_always {
      explicit Awaiter(promise_type& promise) : promise(promise) {}
      Answer await_resume() { return *std::exchange(promise.answer_, std::nullopt); }
      promise_type& promise;
    };
    Awaiter await_transform(Question question) {
      question_ = std::move(question);
      return Awaiter(*this);
    }

   private:
    friend Dialogue;
    std::optional<Question> question_;
    std::optional<Answer> answer_;
    std::optional<Result> result_;
    std::exception_ptr error_;
  };

  Dialogue(Dialogue&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Dialogue& operator=(Dialogue&&) = delete;
  ~Dialogue() {
    if (handle_) handle_.destroy();
  }

  /// Whether it waits for an answer; otherwise it has its result. Rethrows what the coroutine threw.
  bool asking() const {
    if (handle_.promise().error_) std::rethrow_exception(handle_.promise().error_);
    return !handle_.done();
  }
  /// Only while asking.
  const Question& question() const { return *handle_.promise().question_; }
  void answer(Answer answer) {
    handle_.promise().answer_ = std::move(answer);
    handle_.resume();
  }
  /// Only when no longer asking.
  const Result& result() const { return *handle_.promise().result_; }

 private:
  using Handle = std::coroutine_handle<promise_type>;
  explicit Dialogue(Handle handle) : handle_(handle) {}
  Handle handle_;
};

}  // namespace reno
