/* Scalar double arithmetic in registers and a small array: an N-body step of five bodies: fpscalar STEPS (thousands).
 * Only operations that IEEE 754 defines to the last bit. */

#include "bench.h"

#include <math.h>

#define BODIES 5

typedef struct Body {
    double x, y, z, vx, vy, vz, mass;
} Body;

static void step(Body *bodies, double dt)
{
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            Body  *a = &bodies[i], *b = &bodies[j];
            double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
            double square = dx * dx + dy * dy + dz * dz + 0.01, force = dt / (square * sqrt(square));
            a->vx -= dx * b->mass * force;
            a->vy -= dy * b->mass * force;
            a->vz -= dz * b->mass * force;
            b->vx += dx * a->mass * force;
            b->vy += dy * a->mass * force;
            b->vz += dz * a->mass * force;
        }
    }
    for (int i = 0; i < BODIES; i++) {
        bodies[i].x += dt * bodies[i].vx;
        bodies[i].y += dt * bodies[i].vy;
        bodies[i].z += dt * bodies[i].vz;
    }
}

int main(int argc, char **argv)
{
    uint64_t steps = bench_argument(argc, argv, 1) * 1000, sum = 0;
    Body     bodies[BODIES];

    for (int i = 0; i < BODIES; i++)
        bodies[i] = (Body){ i * 1.5, i * i * 0.25, 3.0 - i, 0.125 * i, 0.25, -0.0625 * i, 1.0 / (i + 1) };
    for (uint64_t i = 0; i < steps; i++)
        step(bodies, 0.001);
    for (int i = 0; i < BODIES; i++)
        sum = bench_mix_double(bench_mix_double(sum, bodies[i].x), bodies[i].vy);
    return bench_result(sum);
}
