/* dies: loam: frames given back for an owner who has none */
#include "loam.h"

int main(void)
{
    const loam_phys frame = kernel_frame();
    loam_give_frames(&mm, frame, 0, LOAM_OWNER_FRAMEBUFFER);
    return 0;
}
