// Everything of the models floor but text/.
#pragma once

#include "config.h"
#include "generation/generator.h"
#include "generation/kv_cache.h"
#include "lora.h"
#include "model.h"
#include "model_size.h"
#include "training_cost.h"
