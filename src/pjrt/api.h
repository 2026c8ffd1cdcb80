// The function table. `api()` is made on first use and lives for ever, as do the objects it needs,
// because clients call it while static destructors run.
#pragma once

#include "pjrt/abi.h"

namespace jaxmps::pjrt {

const PJRT_Api* api();

}  // namespace jaxmps::pjrt
