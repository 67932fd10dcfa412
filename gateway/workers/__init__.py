"""Several worker processes behind one port. All are equal; the supervisor serves nothing itself.

Where what stands:

    supervisor  opens what is shared, keeps every place filled, replaces workers one by one, ends them all
    process     one worker as the supervisor sees it: started, ready, told to leave, gone
    patience    how long to wait before a worker that failed is started again, and when to give up
    channel     what supervisor and worker tell each other, as messages over a socket
    worker      the program of one worker process
    line        the worker's end of its channel: ready, reports, what the others have counted
    listen      the listening sockets, which the workers inherit
"""
