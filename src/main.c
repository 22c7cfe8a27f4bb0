/* The qemu-system-x86_64 program. */

int main(void)
{
    return 0;
}
