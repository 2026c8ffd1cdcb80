#include "pjrt/event.h"

#include "pjrt/bindings.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

Status on_ready(PJRT_Event_OnReady_Args& args) {
  REQUIRE(args.event);
  REQUIRE(args.callback);
  args.event->event.on_ready([callback = args.callback, user_arg = args.user_arg](
                                 const Status& status) { callback(new_error(status), user_arg); });
  return {};
}

Status set(PJRT_Event_Set_Args& args) {
  REQUIRE(args.event);
  if (args.event->event.is_set()) {
    return Error(Code::failed_precondition, "PJRT_Event_Set: the event is set already");
  }
  if (args.error_code == PJRT_Error_Code_OK) {
    args.event->event.set();
  } else {
    args.event->event.set(
        client_error(args.error_code, args.error_message, args.error_message_size));
  }
  return {};
}

}  // namespace

void bind_event(PJRT_Api& api) {
  ANSWER_ANY(api, PJRT_Event_Destroy, delete args.event);
  ANSWER(api, PJRT_Event_IsReady, event, args.is_ready = it.event.is_set());
  ANSWER(api, PJRT_Event_Error, event, CHECK_OK(it.event.await()));
  ANSWER(api, PJRT_Event_Await, event, CHECK_OK(it.event.await()));
  bind<on_ready>(api.PJRT_Event_OnReady);
  ANSWER_ANY(api, PJRT_Event_Create, args.event = new_event(Event::distant()));
  bind<set>(api.PJRT_Event_Set);
}

}  // namespace jaxmps::pjrt
