// All of autograd/ in one header.
#pragma once

#include "activations.h"
#include "arithmetic.h"
#include "attention.h"
#include "gradient_check.h"
#include "head.h"
#include "indexing.h"
#include "linear.h"
#include "moe.h"
#include "norms.h"
#include "optimizer.h"
#include "parameters.h"
#include "recompute.h"
#include "rope.h"
#include "schedule.h"
#include "var.h"
