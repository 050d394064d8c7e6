// All of a mixture of experts: routing, sorting rows by expert, the experts' products, the losses of the router.
#pragma once

#include "expert_plan.h"
#include "grouped_linear.h"
#include "router_losses.h"
#include "routing.h"
