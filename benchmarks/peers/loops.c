/* The inner loops of a network, of a spiking layer and of a LASSO code in C: what a compiled core would run.
   Additions keep their order and none is fused with a product, so that spikes equal those of the kernels. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define RESTRICT restrict

/* CUBA: exponential currents integrated exactly, one delay; returns the number of spikes, their neurons in order. */
int64_t cuba(double *RESTRICT v, double *RESTRICT e, double *RESTRICT i, const double *p, int64_t neurons,
             int64_t excitatory, int64_t degree, const uint32_t *RESTRICT target, double excite, double inhibit,
             double reset, int64_t refractory, int64_t delay, int64_t steps, uint32_t *RESTRICT spikes,
             int64_t *RESTRICT first) {
    const double threshold = p[0], keep = p[1], from_e = p[2], from_i = p[3], keep_e = p[4], keep_i = p[5], push = p[6];
    int64_t used = 0;
    first[0] = 0;
    for (int64_t t = 0; t < steps; t++) {
        for (int64_t low = 0; low < neurons; low += 256) {
            int64_t high = low + 256 < neurons ? low + 256 : neurons;
            int fired = 0;
            for (int64_t k = low; k < high; k++) {
                double a = e[k], b = i[k], next = v[k] * keep + a * from_e + b * from_i + push;
                v[k] = next;
                e[k] = a * keep_e;
                i[k] = b * keep_i;
                fired |= next > threshold;
            }
            if (fired)
                for (int64_t k = low; k < high; k++)
                    if (v[k] > threshold) {
                        v[k] = -INFINITY;
                        spikes[used++] = (uint32_t)k;
                    }
        }
        first[t + 1] = used;
        if (t >= delay) {
            for (int64_t s = first[t - delay]; s < first[t - delay + 1]; s++) {
                const uint32_t *row = target + (int64_t)spikes[s] * degree;
                double *x = spikes[s] < excitatory ? e : i, weight = spikes[s] < excitatory ? excite : inhibit;
                for (int64_t j = 0; j < degree; j++) x[row[j]] += weight;
            }
        }
        int64_t due = t - refractory;
        if (due >= 0)
            for (int64_t s = first[due]; s < first[due + 1]; s++) v[spikes[s]] = reset;
    }
    return used;
}

/* A linear layer and its leaky integrate-and-fire neurons on events; returns the number of spikes.
   membrane (steps, samples, units) is what backward needs. */
int64_t layer(const int64_t *RESTRICT pointer, const int32_t *RESTRICT index, const float *RESTRICT weight_t,
              const float *RESTRICT bias, const float *RESTRICT beta, int64_t steps, int64_t samples, int64_t units,
              float *RESTRICT carried, float *RESTRICT drive, float *RESTRICT membrane, int32_t *RESTRICT stream,
              int64_t *RESTRICT counts) {
    int64_t used = 0;
    for (int64_t b = 0; b < samples; b++) {
        memset(carried, 0, units * sizeof(float));
        for (int64_t t = 0; t < steps; t++) {
            int64_t r = t * samples + b, j = pointer[r], end = pointer[r + 1], before = used;
            float *RESTRICT u = membrane + r * units;
            memcpy(drive, bias, units * sizeof(float));
            for (; j + 4 <= end; j += 4) {
                const float *w = weight_t + index[j] * units, *x = weight_t + index[j + 1] * units;
                const float *y = weight_t + index[j + 2] * units, *z = weight_t + index[j + 3] * units;
                for (int64_t k = 0; k < units; k++) drive[k] += (w[k] + x[k]) + (y[k] + z[k]);
            }
            for (; j < end; j++) {
                const float *w = weight_t + index[j] * units;
                for (int64_t k = 0; k < units; k++) drive[k] += w[k];
            }
            for (int64_t k = 0; k < units; k++) {
                float next = beta[k] * carried[k] + drive[k];
                u[k] = next;
                carried[k] = next > 1 ? next - 1 : next;
            }
            for (int64_t k = 0; k < units; k++) {
                stream[used] = (int32_t)k;
                used += u[k] > 1;
            }
            counts[r] = used - before;
        }
    }
    return used;
}
