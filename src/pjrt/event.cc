#include "pjrt/event.h"

#include "pjrt/bindings.h"
#include "pjrt/entry.h"

namespace jaxmps::pjrt {
namespace {

Status destroy(PJRT_Event_Destroy_Args& args) {
  delete args.event;
  return {};
}

Status is_ready(PJRT_Event_IsReady_Args& args) {
  REQUIRE(args.event);
  args.is_ready = args.event->event.is_set();
  return {};
}

Status error(PJRT_Event_Error_Args& args) {
  REQUIRE(args.event);
  return args.event->event.await();
}

Status await(PJRT_Event_Await_Args& args) {
  REQUIRE(args.event);
  return args.event->event.await();
}

Status on_ready(PJRT_Event_OnReady_Args& args) {
  REQUIRE(args.event);
  REQUIRE(args.callback);
  args.event->event.on_ready([callback = args.callback, user_arg = args.user_arg](
                                 const Status& status) { callback(new_error(status), user_arg); });
  return {};
}

Status create(PJRT_Event_Create_Args& args) {
  args.event = new_event(Event::distant());
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
  bind<destroy>(api.PJRT_Event_Destroy);
  bind<is_ready>(api.PJRT_Event_IsReady);
  bind<error>(api.PJRT_Event_Error);
  bind<await>(api.PJRT_Event_Await);
  bind<on_ready>(api.PJRT_Event_OnReady);
  bind<create>(api.PJRT_Event_Create);
  bind<set>(api.PJRT_Event_Set);
}

}  // namespace jaxmps::pjrt
