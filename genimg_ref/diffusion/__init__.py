"""Diffusion and flow models: one idea a file, and one contract for the network in all of them.

Chapter: ddpm, samplers, guidance

A noisy image is ``x_t = alpha(t) x_0 + sigma(t) eps`` with ``eps ~ N(0, I)``. ``t = 0`` is data and the
largest ``t`` is noise; a schedule maps ``t`` to :class:`~genimg_ref.diffusion.schedule.Level`, the pair
``(alpha, sigma)``.

**The model** is any callable ``model(x, t)`` or ``model(x, t, condition)``:

- ``x`` is a batch of noisy images ``(batch, channels, height, width)``, or of vectors ``(batch, dim)``;
- ``t`` is a floating-point tensor ``(batch,)`` with the time of each row. It is ``k / T`` for step ``k`` of
  ``T`` discrete steps and lies in [0, 1] for flows and continuous schedules. Inside
  :class:`~genimg_ref.diffusion.edm.Preconditioned` a network is handed ``c_noise = log(sigma) / 4`` instead,
  and the wrapped whole is a model whose ``t`` is ``sigma``;
- ``condition`` is what the model may be told, a row for each image (class labels, embedded text). It is left
  out where there is none;
- the answer has the shape of ``x``. What it means is its *kind* (:data:`~genimg_ref.diffusion.predict.Kind`):
  the noise ``"eps"``, the clean image ``"x0"``, ``"v"``, the ``"score"``, or the flow's ``"velocity"``.

Samplers call ``model(x, t)``; :mod:`~genimg_ref.diffusion.guidance` binds conditions and turns one model into
another, so every sampler can be guided.
"""
