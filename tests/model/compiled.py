"""Two steps of a compiled nano network beside those of a plain one: the same losses, keys and averages."""

from dataclasses import replace

import torch
from workers import CPU, SETTINGS, global_batch, state_of

from rayox_model.train.engine import train

if __name__ == "__main__":
    torch.set_num_threads(1)
    found = []
    for compiled in (False, True):
        settings = replace(SETTINGS, compile=compiled, schedule=replace(SETTINGS.schedule, peak=1e-7))
        state = state_of(settings)
        reports = list(train(state, [global_batch()] * 2, settings, CPU))
        found.append((state, [float(report.losses.total) for report in reports]))
    (plain, plain_losses), (fast, fast_losses) = found
    assert fast.model._compiled_call_impl is not None
    assert fast.ema.module._compiled_call_impl is None
    assert list(plain.model.state_dict()) == list(fast.model.state_dict())
    assert list(plain.ema.module.state_dict()) == list(fast.ema.module.state_dict())
    torch.testing.assert_close(torch.tensor(plain_losses), torch.tensor(fast_losses), rtol=1e-3, atol=0)
    print("same", plain_losses, fast_losses)
